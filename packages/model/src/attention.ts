import type { AbsorbedAttention } from './absorbed-attention.js';
import type { Dimensions } from './dimensions.js';
import type { LatentCache } from './kv-cache.js';
import type { NaiveAttention } from './naive-attention.js';
import type { AttentionMode } from './precision.js';
import type { Projector } from './projector.js';
import { interleaveHalves } from './rope-layout.js';
import { RowViews } from './row-views.js';
import type { StepState } from './step-state.js';
import type { AttentionWeights } from './weights.js';
import type { Workspace } from './workspace.js';

/** Everything that the attention layers of one model share. */
export interface AttentionContext {
  readonly dimensions: Dimensions;
  readonly projector: Projector;
  readonly cache: LatentCache;
  /** `[positions, ropeDims]` pairs of cos and sin. */
  readonly cosSin: Float32Array;
  readonly mode: AttentionMode;
  readonly absorbed: AbsorbedAttention;
  readonly naive: NaiveAttention;
}

/** Rows of one rank in buffers of all tokens. */
interface ShareViews {
  readonly queryDown: RowViews;
  readonly latent: RowViews;
  readonly current: { queryDown: Float32Array; latent: Float32Array };
}

/** The norms inside the attention have this epsilon whatever `rms_norm_eps` says, in every implementation. */
const INNER_EPSILON = 1e-6;

/**
 * Multi-head latent attention of one layer, added to the residual stream: queries, the new tokens' latents into the
 * cache, then each sequence by the absorbed or the naive algorithm, then the output projection.
 */
export class Attention {
  private readonly context: AttentionContext;
  private readonly weights: AttentionWeights;
  private readonly layer: number;
  private readonly views: WeakMap<Workspace, ShareViews> = new WeakMap();
  private readonly memory: Float32Array;
  private readonly blockNorm: { epsilon: number };
  private readonly innerNorm = { epsilon: INNER_EPSILON };
  private readonly latentNorm: { epsilon: number; xStride: number; outStride: number };
  private readonly queryRope: {
    rows: number;
    heads: number;
    dims: number;
    rowStride: number;
    headStride: number;
    offset: number;
  };
  private readonly keyRope: {
    rows: number;
    heads: number;
    dims: number;
    rowStride: number;
    headStride: number;
    offset: number;
  };

  constructor(context: AttentionContext, weights: AttentionWeights, layer: number) {
    const d = context.dimensions;
    this.context = context;
    this.memory = new Float32Array(context.projector.kernels.arena.memory.buffer);
    this.weights = weights;
    this.layer = layer;
    this.blockNorm = { epsilon: d.epsilon };
    this.latentNorm = { epsilon: INNER_EPSILON, xStride: d.latentDims, outStride: d.latentDims };
    this.queryRope = {
      rows: 0,
      heads: d.heads,
      dims: d.ropeDims,
      rowStride: d.heads * d.headDims,
      headStride: d.headDims,
      offset: d.nopeDims,
    };
    this.keyRope = {
      rows: 0,
      heads: 1,
      dims: d.ropeDims,
      rowStride: d.latentDims,
      headStride: 0,
      offset: d.rank,
    };
  }

  /** Compresses the rows of this rank: what the query and the cache are made of, where their tokens are. */
  compress(step: StepState): void {
    const { dimensions: d, projector } = this.context;
    const { kernels } = projector;
    const { weights } = this;
    const { workspace, rows, firstRow } = step;
    const { residual, normed } = workspace;
    const { queryDown, latent } = this.viewsOf(workspace, firstRow);
    kernels.rmsNorm(residual, weights.inputNorm, normed, rows, d.hidden, this.blockNorm);
    projector.round(normed, rows * d.hidden);
    if (weights.queryDown !== undefined && weights.queryNorm !== undefined) {
      projector.project('queryDown', weights.queryDown, normed, queryDown, rows);
      kernels.rmsNorm(queryDown, weights.queryNorm, queryDown, rows, d.queryRank, this.innerNorm);
      projector.round(queryDown, rows * d.queryRank);
    } else if (step.tensor !== undefined) {
      const from = normed.byteOffset / 4;
      this.memory.copyWithin(queryDown.byteOffset / 4, from, from + rows * d.hidden);
    }
    projector.project('latent', weights.latent, normed, latent, rows);
    kernels.rmsNorm(latent, weights.latentNorm, latent, rows, d.rank, this.latentNorm);
  }

  /** The part before the core, of all tokens: queries, and latents into the cache. */
  prepare(step: StepState): void {
    this.expand(step);
    this.cacheLatents(step);
  }

  /** The core and the output projection, added to the residual stream. */
  finish(step: StepState): void {
    const { projector } = this.context;
    const { residual, update, mixed } = step.workspace;
    this.mix(step);
    projector.addProjected('output', this.weights.output[0]!.weight, mixed, residual, step.tokens, update);
  }

  /** {@link Attention.finish} with the heads of this rank only: their part of the result, in `update`. */
  finishPartial(step: StepState): void {
    const { dimensions: d, projector } = this.context;
    const { update, mixed } = step.workspace;
    this.mix(step);
    const width = d.heads * d.valueDims;
    projector.projectPartial('output', this.weights.output, mixed, update, step.tokens, width);
  }

  /** Queries of the new tokens; queries and latents rotated to their positions. */
  private expand(step: StepState): void {
    const { dimensions: d, projector, cosSin } = this.context;
    const { kernels } = projector;
    const { weights } = this;
    const { normed, queryDown, query, latent, positions } = step.workspace;
    const rows = step.tokens;
    const input = weights.queryDown === undefined && step.tensor === undefined ? normed : queryDown;
    projector.projectPieces('query', weights.query, input, query, rows, d.heads * d.headDims);
    this.queryRope.rows = rows;
    this.keyRope.rows = rows;
    if (!d.interleavedRope) {
      interleaveHalves(query, this.queryRope);
      interleaveHalves(latent, this.keyRope);
    }
    kernels.rope(query, cosSin, positions, this.queryRope);
    kernels.rope(latent, cosSin, positions, this.keyRope);
    projector.round(query, rows * d.heads * d.headDims);
    projector.round(latent, rows * d.latentDims);
  }

  private cacheLatents(step: StepState): void {
    const { batch, workspace } = step;
    for (let s = 0; s < batch.sequences; s++) {
      const row = batch.tokenOffsets[s]!;
      const count = batch.tokenOffsets[s + 1]! - row;
      const table = s * step.blockTableStride;
      this.context.cache.write(
        this.layer,
        workspace.latent,
        row,
        batch.contextStarts[s]!,
        count,
        workspace.blockTables,
        table,
      );
    }
  }

  private mix(step: StepState): void {
    const { absorbed, naive } = this.context;
    const { batch } = step;
    absorbed.begin(this.weights.expand, this.layer, step);
    for (let s = 0; s < batch.sequences; s++) {
      const row = batch.tokenOffsets[s]!;
      const count = batch.tokenOffsets[s + 1]! - row;
      const start = batch.contextStarts[s]!;
      const table = s * step.blockTableStride;
      if (this.absorbs(count, start)) {
        for (let i = 0; i < count; i++) absorbed.add(row + i, start + i + 1, table);
      } else {
        naive.run(this.weights.expand, this.layer, step, row, count, start, table);
      }
    }
    absorbed.end();
    const { dimensions: d, projector } = this.context;
    projector.round(step.workspace.mixed, step.tokens * d.heads * d.valueDims);
  }

  private viewsOf(workspace: Workspace, row: number): { queryDown: Float32Array; latent: Float32Array } {
    if (row === 0) return workspace;
    let views = this.views.get(workspace);
    if (views === undefined) {
      const { dimensions: d } = this.context;
      views = {
        queryDown: new RowViews(workspace.queryDown, d.queryRank === 0 ? d.hidden : d.queryRank),
        latent: new RowViews(workspace.latent, d.latentDims),
        current: { queryDown: workspace.queryDown, latent: workspace.latent },
      };
      this.views.set(workspace, views);
    }
    views.current.queryDown = views.queryDown.from(row);
    views.current.latent = views.latent.from(row);
    return views.current;
  }

  /**
   * Multiplications per head of both algorithms for `count` queries: absorbed attention works in `rank` dimensions,
   * naive attention in a head's own but expands every cached token first.
   */
  private absorbs(count: number, start: number): boolean {
    const { dimensions: d, mode } = this.context;
    if (mode !== 'auto') return mode === 'absorbed';
    const expand = d.rank * (d.nopeDims + d.valueDims);
    const pairs = count * (start + (count + 1) / 2);
    const absorbed = count * expand + pairs * (2 * d.rank + d.ropeDims);
    const naive = (start + count) * expand + pairs * (d.headDims + d.valueDims);
    return absorbed <= naive;
  }
}
