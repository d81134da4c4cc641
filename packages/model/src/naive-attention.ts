import type { Kernels, Weight } from '@moestack/kernels';
import type { Dimensions } from './dimensions.js';
import type { LatentCache } from './kv-cache.js';
import { RowViews } from './row-views.js';
import type { StepState } from './step-state.js';
import type { Workspace } from './workspace.js';

interface ProductOptions {
  rowStart: number;
  rowCount: number;
  xStride: number;
  outStride: number;
}

interface RangeViews {
  /** `[T * heads, headDims]` and `[T * heads, valueDims]`: views that begin at one head of one token. */
  readonly query: RowViews;
  readonly mixed: RowViews;
}

/**
 * Naive latent attention: keys and values of the whole context are expanded from the cached latents by `kv_b_proj`,
 * one head at a time, so that its buffers stay one head wide.
 */
export class NaiveAttention {
  private readonly kernels: Kernels;
  private readonly d: Dimensions;
  private readonly cache: LatentCache;
  private readonly keyProduct: ProductOptions;
  private readonly valueProduct: ProductOptions;
  private readonly views: WeakMap<Workspace, RangeViews> = new WeakMap();
  private readonly shape: {
    m: number;
    t: number;
    heads: number;
    qkDims: number;
    vDims: number;
    start: number;
    scale: number;
    qStride: number;
    outStride: number;
  };
  private readonly roundsToBf16: boolean;
  private readonly expandRow: number;

  constructor(
    kernels: Kernels,
    d: Dimensions,
    cache: LatentCache,
    options: { softmaxScale: number; roundsToBf16: boolean; expandRow: number },
  ) {
    this.kernels = kernels;
    this.d = d;
    this.cache = cache;
    this.roundsToBf16 = options.roundsToBf16;
    this.expandRow = options.expandRow;
    this.keyProduct = { rowStart: 0, rowCount: d.nopeDims, xStride: d.latentDims, outStride: d.headDims };
    this.valueProduct = { rowStart: 0, rowCount: d.valueDims, xStride: d.latentDims, outStride: d.valueDims };
    this.shape = {
      m: 0,
      t: 0,
      heads: 1,
      qkDims: d.headDims,
      vDims: d.valueDims,
      start: 0,
      scale: options.softmaxScale,
      qStride: d.heads * d.headDims,
      outStride: d.heads * d.valueDims,
    };
  }

  /** Queries in batch rows `row .. row + count` at positions `start ..` of the sequence of this block table. */
  run(
    expand: Weight,
    layer: number,
    step: StepState,
    row: number,
    count: number,
    start: number,
    blockTableOffset: number,
  ): void {
    const { kernels, d, shape, keyProduct, valueProduct } = this;
    const { gathered, keys, values } = step.workspace;
    const { query, mixed } = this.rangeViews(step.workspace);
    const context = start + count;
    this.cache.gather(layer, context, step.workspace.blockTables, blockTableOffset, gathered);
    this.copyRotary(gathered, keys, context);
    shape.m = count;
    shape.t = context;
    shape.start = start;
    for (let head = 0; head < d.heads; head++) {
      keyProduct.rowStart = this.expandRow + head * (d.nopeDims + d.valueDims);
      valueProduct.rowStart = keyProduct.rowStart + d.nopeDims;
      kernels.linear(expand, gathered, keys, context, keyProduct);
      kernels.linear(expand, gathered, values, context, valueProduct);
      if (this.roundsToBf16) {
        kernels.toBf16(keys, keys, context * d.headDims);
        kernels.toBf16(values, values, context * d.valueDims);
      }
      const first = row * d.heads + head;
      kernels.causalAttention(query.from(first), keys, values, mixed.from(first), shape);
    }
  }

  /** The rotary key is shared by all heads: it is placed once and stays while the other dimensions change. */
  private copyRotary(gathered: Float32Array, keys: Float32Array, context: number): void {
    const { d } = this;
    for (let t = 0; t < context; t++) {
      const from = t * d.latentDims + d.rank;
      const to = t * d.headDims + d.nopeDims;
      for (let i = 0; i < d.ropeDims; i++) keys[to + i] = gathered[from + i]!;
    }
  }

  private rangeViews(workspace: Workspace): RangeViews {
    const known = this.views.get(workspace);
    if (known !== undefined) return known;
    const views = {
      query: new RowViews(workspace.query, this.d.headDims),
      mixed: new RowViews(workspace.mixed, this.d.valueDims),
    };
    this.views.set(workspace, views);
    return views;
  }
}
