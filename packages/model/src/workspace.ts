import type { Dimensions } from './dimensions.js';
import { type BatchLimits, blocksPerSequence } from './step-batch.js';

/** What {@link createWorkspace} allocates from: an arena, or a {@link CountingAllocator} that only adds up. */
export interface Allocator {
  f32(length: number): Float32Array;
  i32(length: number): Int32Array;
}

/** Tokens of the absorbed attention that are worked on at once: bounds its buffers, which are `heads * rank` wide. */
export const ABSORBED_TILE = 32;

/** Activations of one step in flight, sized for the largest batch. Comments give the shape; T = batch tokens. */
export interface Workspace {
  /** `[T, hidden]`: the residual stream. */
  readonly residual: Float32Array;
  /** `[T, hidden]`: its norm, input of attention and of the experts. */
  readonly normed: Float32Array;
  /** `[T, hidden]`: an output that is rounded or scaled before it is added. */
  readonly update: Float32Array;
  /** `[T, queryRank]`; where ranks share heads of a query that is one projection, `[T, hidden]`. */
  readonly queryDown: Float32Array;
  /** `[T, heads, headDims]` */
  readonly query: Float32Array;
  /** `[T, latentDims]`: what the new tokens add to the cache. */
  readonly latent: Float32Array;
  /** `[T, heads, valueDims]` */
  readonly mixed: Float32Array;
  /** `[T]` */
  readonly positions: Int32Array;
  /** `[sequences, blocksPerSequence]`: the batch's block tables, where kernels read them in place. */
  readonly blockTables: Int32Array;
  /** `[context, latentDims]`: one sequence's cache, contiguous. */
  readonly gathered: Float32Array;
  /** `[context, headDims]`: keys of one head. */
  readonly keys: Float32Array;
  /** `[context, valueDims]`: values of one head. */
  readonly values: Float32Array;
  /** `[tile, heads, headDims]`, `[tile, heads, latentDims]`, `[tile, heads, rank]`, `[tile, heads, valueDims]` */
  readonly absorbedQuery: Float32Array;
  readonly absorbedLatentQuery: Float32Array;
  readonly absorbedSum: Float32Array;
  readonly absorbedMixed: Float32Array;
  /** `[T, max MLP width]` */
  readonly gate: Float32Array;
  readonly up: Float32Array;
  /** `[T, experts]` */
  readonly routerLogits: Float32Array;
  /** `[T, topK]` */
  readonly expertIds: Int32Array;
  readonly expertWeights: Float32Array;
  /** `[experts]` */
  readonly expertCounts: Int32Array;
  /** `[max(sequences, tile), hidden]` and `[.., vocabulary]`: rows that become logits. */
  readonly lastHidden: Float32Array;
  readonly logits: Float32Array;
}

/** Rows of logits that are computed at once. */
export function logitRows(limits: Pick<BatchLimits, 'maxBatchTokens' | 'maxSequences'>): number {
  return Math.max(limits.maxSequences, Math.min(limits.maxBatchTokens, 32));
}

/**
 * Allocates a workspace for batches within `limits`.
 *
 * @param queryInput - width of what queries are projected from, in a buffer of its own.
 */
export function createWorkspace(
  allocator: Allocator,
  d: Dimensions,
  limits: BatchLimits,
  queryInput: number = d.queryRank,
): Workspace {
  const tokens = limits.maxBatchTokens;
  const context = limits.maxContextTokens;
  const tile = Math.min(tokens, ABSORBED_TILE);
  const width = Math.max(d.denseWidth, d.expertWidth, d.sharedWidth);
  return {
    residual: allocator.f32(tokens * d.hidden),
    normed: allocator.f32(tokens * d.hidden),
    update: allocator.f32(tokens * d.hidden),
    queryDown: allocator.f32(tokens * queryInput),
    query: allocator.f32(tokens * d.heads * d.headDims),
    latent: allocator.f32(tokens * d.latentDims),
    mixed: allocator.f32(tokens * d.heads * d.valueDims),
    positions: allocator.i32(tokens),
    blockTables: allocator.i32(limits.maxSequences * blocksPerSequence(limits)),
    gathered: allocator.f32(context * d.latentDims),
    keys: allocator.f32(context * d.headDims),
    values: allocator.f32(context * d.valueDims),
    absorbedQuery: allocator.f32(tile * d.heads * d.headDims),
    absorbedLatentQuery: allocator.f32(tile * d.heads * d.latentDims),
    absorbedSum: allocator.f32(tile * d.heads * d.rank),
    absorbedMixed: allocator.f32(tile * d.heads * d.valueDims),
    gate: allocator.f32(tokens * width),
    up: allocator.f32(tokens * width),
    routerLogits: allocator.f32(tokens * d.experts),
    expertIds: allocator.i32(tokens * d.topK),
    expertWeights: allocator.f32(tokens * d.topK),
    expertCounts: allocator.i32(d.experts),
    lastHidden: allocator.f32(logitRows(limits) * d.hidden),
    logits: allocator.f32(logitRows(limits) * d.vocabulary),
  };
}

const EMPTY_F32 = new Float32Array(0);
const EMPTY_I32 = new Int32Array(0);

/** Adds up what an arena would hand out, in 64-byte lines, without allocating. */
export class CountingAllocator implements Allocator {
  bytes = 0;

  f32(length: number): Float32Array {
    this.add(length * 4);
    return EMPTY_F32;
  }

  i32(length: number): Int32Array {
    this.add(length * 4);
    return EMPTY_I32;
  }

  /** Counts any other allocation. */
  add(bytes: number): void {
    this.bytes += Math.ceil(bytes / 64) * 64;
  }
}
