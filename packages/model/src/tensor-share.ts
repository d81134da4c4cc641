import type { Dimensions } from './dimensions.js';
import type { Precision } from './precision.js';
import { badOption } from './runtime-options.js';
import type { BatchLimits } from './step-batch.js';
import type { TensorSizes } from './tensor-exchange.js';
import { SCALE_BLOCK, type WeightSlice } from './weight-slices.js';
import { logitRows } from './workspace.js';

/** A rank's part of the attention: which of the ranks that share the heads it is. */
export interface TensorShare {
  /** Ranks that share the heads; 1 = each has all. */
  readonly size: number;
  readonly index: number;
}

/** Heads, and rows outside attention, belong to one rank. */
export const WHOLE_SHARE: TensorShare = { size: 1, index: 0 };

/**
 * Checks `tensor` against the ranks and the heads. Ranks of one group follow one another: rank r is number `r % tensor` of group `floor(r / tensor)`.
 *
 * @throws ModelError `model/bad-options` for a number that does not divide the ranks or the heads.
 */
export function tensorShare(tensor: number, ranks: number, rank: number, d: Dimensions): TensorShare {
  if (!Number.isInteger(tensor) || tensor < 1) throw badOption('tensor', tensor, 'a positive whole number');
  if (ranks % tensor !== 0) throw badOption('tensor', tensor, `a divisor of the ${ranks} ranks`);
  if (d.heads % tensor !== 0)
    throw badOption('tensor', tensor, `a divisor of the ${d.heads} attention heads`);
  return { size: tensor, index: rank % tensor };
}

/**
 * Quantised activations have one scale for 128 columns, which no two ranks can share.
 *
 * @throws ModelError `model/bad-options` for W8A8 with heads whose values 128 does not divide between ranks.
 */
export function checkTensorPrecision({ size }: TensorShare, d: Dimensions, precision: Precision): void {
  const columns = (d.heads / size) * d.valueDims;
  if (size === 1 || precision !== 'w8a8' || columns % SCALE_BLOCK === 0) return;
  throw badOption(
    'tensor',
    size,
    `with w8a8 a number that gives each rank a multiple of ${SCALE_BLOCK} attention outputs (here ${columns}), or another precision`,
  );
}

/** The first token of a step whose row outside attention is that of rank `index`; as many as tokens for `index = size`. */
export function firstToken(tokens: number, index: number, size: number): number {
  return Math.floor((tokens * index) / size);
}

/** Rank that has the row of a token outside attention. */
export function ownerOf(token: number, tokens: number, size: number): number {
  let owner = Math.floor((token * size) / tokens);
  while (owner + 1 < size && firstToken(tokens, owner + 1, size) <= token) owner++;
  return owner;
}

/** Most rows that a rank has outside attention: two micro-batches can round up both. */
export function shareRows(maxBatchTokens: number, { size }: TensorShare): number {
  return size === 1 ? maxBatchTokens : Math.min(maxBatchTokens, Math.ceil(maxBatchTokens / size) + 1);
}

/** The sizes of the communication inside the group. */
export function tensorSizes(
  d: Dimensions,
  share: TensorShare,
  limits: Pick<BatchLimits, 'maxBatchTokens' | 'maxSequences'>,
): TensorSizes {
  return {
    ranks: share.size,
    rows: shareRows(limits.maxBatchTokens, share),
    queryDims: queryInput(d, share),
    latentDims: d.latentDims,
    hidden: d.hidden,
    logitRows: logitRows(limits),
  };
}

/** Width of what queries are projected from in a buffer of its own: where ranks share heads, what they gather. */
export function queryInput(d: Dimensions, { size }: TensorShare): number {
  return size > 1 && d.queryRank === 0 ? d.hidden : d.queryRank;
}

/** The sizes of the attention of one rank. */
export function shareDimensions(d: Dimensions, { size }: TensorShare): Dimensions {
  return size === 1 ? d : { ...d, heads: d.heads / size };
}

/** What one rank holds of the weights that are split by heads; empty where it holds all. */
export interface HeadSlices {
  readonly query?: WeightSlice;
  readonly expand?: WeightSlice;
  readonly output?: WeightSlice;
  /** Row of `expand` at which the first head begins. */
  readonly expandRow: number;
}

/** How `q_b_proj`, `kv_b_proj` and `o_proj` are split. */
export function headSlices(d: Dimensions, { size, index }: TensorShare): HeadSlices {
  if (size === 1) return { expandRow: 0 };
  const heads = d.heads / size;
  const first = index * heads;
  const width = d.nopeDims + d.valueDims;
  // kv_b_proj is used by ranges of rows, so that it can begin where a block of scales does.
  const row = Math.floor((first * width) / SCALE_BLOCK) * SCALE_BLOCK;
  const expandRow = first * width - row;
  return {
    query: { axis: 'rows', first: first * d.headDims, count: heads * d.headDims },
    expand: { axis: 'rows', first: row, count: expandRow + heads * width },
    output: { axis: 'columns', first: first * d.valueDims, count: heads * d.valueDims },
    expandRow,
  };
}
