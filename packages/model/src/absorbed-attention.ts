import type { Kernels, Weight } from '@moestack/kernels';
import type { Dimensions } from './dimensions.js';
import type { LatentCache } from './kv-cache.js';
import type { StepState } from './step-state.js';
import { ABSORBED_TILE, type Workspace } from './workspace.js';

interface ProductOptions {
  rowStart: number;
  rowCount: number;
  xStride: number;
  outStride: number;
}

/** Views of one head inside the buffers of a tile. */
interface HeadViews {
  readonly query: Float32Array;
  readonly latentQuery: Float32Array;
  readonly sum: Float32Array;
  readonly mixed: Float32Array;
}

/**
 * Absorbed latent attention: `kv_b_proj` is folded into the query and the result, so that attention runs in the latent
 * space and a cached token is never expanded. Its work per token grows only by the attention itself.
 *
 * Tokens are collected into a tile, so that the products with `kv_b_proj` serve all decoding sequences at once.
 */
export class AbsorbedAttention {
  private readonly kernels: Kernels;
  private readonly d: Dimensions;
  private readonly cache: LatentCache;
  private readonly memory: Float32Array;
  private readonly keyProducts: ProductOptions[] = [];
  private readonly valueProducts: ProductOptions[] = [];
  private readonly heads: WeakMap<Workspace, readonly HeadViews[]> = new WeakMap();
  private readonly shape: {
    heads: number;
    rank: number;
    ropeDims: number;
    contextLength: number;
    blockSize: number;
    scale: number;
    blockTableOffset: number;
    qOffset: number;
    outOffset: number;
  };
  private readonly rows = new Int32Array(ABSORBED_TILE);
  private readonly lengths = new Int32Array(ABSORBED_TILE);
  private readonly tables = new Int32Array(ABSORBED_TILE);
  private count = 0;
  private expand: Weight | undefined;
  private layer = 0;
  private step: StepState | undefined;

  constructor(
    kernels: Kernels,
    d: Dimensions,
    cache: LatentCache,
    options: { softmaxScale: number; expandRow: number },
  ) {
    const { softmaxScale, expandRow } = options;
    this.kernels = kernels;
    this.d = d;
    this.cache = cache;
    this.memory = new Float32Array(kernels.arena.memory.buffer);
    for (let head = 0; head < d.heads; head++) {
      const first = expandRow + head * (d.nopeDims + d.valueDims);
      this.keyProducts.push({
        rowStart: first,
        rowCount: d.nopeDims,
        xStride: d.heads * d.headDims,
        outStride: d.heads * d.latentDims,
      });
      this.valueProducts.push({
        rowStart: first + d.nopeDims,
        rowCount: d.valueDims,
        xStride: d.heads * d.rank,
        outStride: d.heads * d.valueDims,
      });
    }
    this.shape = {
      heads: d.heads,
      rank: d.rank,
      ropeDims: d.ropeDims,
      contextLength: 0,
      blockSize: cache.shape.blockSizeTokens,
      scale: softmaxScale,
      blockTableOffset: 0,
      qOffset: 0,
      outOffset: 0,
    };
  }

  /** Starts a layer; its `kv_b_proj` serves until {@link AbsorbedAttention.end}. */
  begin(expand: Weight, layer: number, step: StepState): void {
    this.expand = expand;
    this.layer = layer;
    this.step = step;
    this.count = 0;
  }

  /** Adds the query in batch row `row`, which attends to the first `length` tokens of its block table. */
  add(row: number, length: number, blockTableOffset: number): void {
    if (this.count === Math.min(ABSORBED_TILE, this.tileRows())) this.flush();
    this.rows[this.count] = row;
    this.lengths[this.count] = length;
    this.tables[this.count] = blockTableOffset;
    this.count++;
  }

  /** Runs what is still collected. */
  end(): void {
    this.flush();
    this.step = undefined;
  }

  private tileRows(): number {
    return (this.step?.workspace.absorbedSum.length ?? 0) / (this.d.heads * this.d.rank);
  }

  private flush(): void {
    const { step, expand, kernels, d, shape, count } = this;
    if (count === 0 || step === undefined || expand === undefined) return;
    const { query, absorbedQuery, absorbedLatentQuery, absorbedSum, absorbedMixed, mixed } = step.workspace;
    const views = this.headViews(step.workspace);
    this.copyRows(query, absorbedQuery, d.heads * d.headDims, true);
    for (let head = 0; head < d.heads; head++) {
      const view = views[head]!;
      kernels.linearTransposed(expand, view.query, view.latentQuery, count, this.keyProducts[head]!);
    }
    this.copyRotary(absorbedQuery, absorbedLatentQuery);
    for (let i = 0; i < count; i++) {
      shape.contextLength = this.lengths[i]!;
      shape.blockTableOffset = this.tables[i]!;
      shape.qOffset = i * d.heads * d.latentDims;
      shape.outOffset = i * d.heads * d.rank;
      const cache = this.cache.layers[this.layer]!;
      kernels.latentAttention(absorbedLatentQuery, cache, step.workspace.blockTables, absorbedSum, shape);
    }
    for (let head = 0; head < d.heads; head++) {
      const view = views[head]!;
      kernels.linear(expand, view.sum, view.mixed, count, this.valueProducts[head]!);
    }
    this.copyRows(absorbedMixed, mixed, d.heads * d.valueDims, false);
    this.count = 0;
  }

  /** Moves rows between batch order and tile order. */
  private copyRows(source: Float32Array, target: Float32Array, width: number, intoTile: boolean): void {
    const from = source.byteOffset / 4;
    const to = target.byteOffset / 4;
    for (let i = 0; i < this.count; i++) {
      const row = this.rows[i]!;
      const start = from + (intoTile ? row : i) * width;
      this.memory.copyWithin(to + (intoTile ? i : row) * width, start, start + width);
    }
  }

  /** The rotary part of a query is not absorbed: it meets the rotary part of the cache as it is. */
  private copyRotary(query: Float32Array, latentQuery: Float32Array): void {
    const { d } = this;
    const rows = this.count * d.heads;
    for (let row = 0; row < rows; row++) {
      const from = row * d.headDims + d.nopeDims;
      const to = row * d.latentDims + d.rank;
      for (let i = 0; i < d.ropeDims; i++) latentQuery[to + i] = query[from + i]!;
    }
  }

  private headViews(workspace: Workspace): readonly HeadViews[] {
    const known = this.heads.get(workspace);
    if (known !== undefined) return known;
    const { d } = this;
    const views: HeadViews[] = [];
    for (let head = 0; head < d.heads; head++) {
      views.push({
        query: workspace.absorbedQuery.subarray(head * d.headDims),
        latentQuery: workspace.absorbedLatentQuery.subarray(head * d.latentDims),
        sum: workspace.absorbedSum.subarray(head * d.rank),
        mixed: workspace.absorbedMixed.subarray(head * d.valueDims),
      });
    }
    this.heads.set(workspace, views);
    return views;
  }
}
