import { ModelError } from './errors.js';

/**
 * The sequences of one step. The arrays belong to the caller, who may reuse them for every step; only the first
 * `sequences` entries count.
 */
export interface StepBatch {
  sequences: number;
  /** New tokens of all sequences, one after the other. */
  tokens: Int32Array;
  /** `[sequences + 1]`: where each sequence's new tokens begin in `tokens`. */
  tokenOffsets: Int32Array;
  /** `[sequences]`: tokens that are in the cache already. */
  contextStarts: Int32Array;
  /** `[sequences * blockTableStride]`: physical block ids, in the order of the positions. */
  blockTables: Int32Array;
  blockTableStride: number;
}

/** What a runtime was sized for. */
export interface BatchLimits {
  readonly vocabulary: number;
  readonly blocks: number;
  readonly blockSizeTokens: number;
  readonly maxBatchTokens: number;
  readonly maxSequences: number;
  readonly maxContextTokens: number;
}

/** Blocks that the longest sequence takes. */
export function blocksPerSequence(limits: BatchLimits): number {
  return Math.ceil(limits.maxContextTokens / limits.blockSizeTokens);
}

/** Copies the block tables of a checked batch to rows of `stride` in `out`; entries beyond a sequence are not copied. */
export function copyBlockTables(
  batch: StepBatch,
  blockSizeTokens: number,
  stride: number,
  out: Int32Array,
): void {
  const { blockTables, blockTableStride } = batch;
  for (let s = 0; s < batch.sequences; s++) {
    const length = batch.contextStarts[s]! + batch.tokenOffsets[s + 1]! - batch.tokenOffsets[s]!;
    const blocks = Math.ceil(length / blockSizeTokens);
    for (let b = 0; b < blocks; b++) out[s * stride + b] = blockTables[s * blockTableStride + b]!;
  }
}

/**
 * Checks a batch before anything changes.
 *
 * @returns the number of new tokens.
 * @throws ModelError `model/bad-batch`, `model/bad-token`, `model/context-too-long` or `model/bad-blocks`.
 */
export function checkBatch(batch: StepBatch, limits: BatchLimits): number {
  const { sequences, tokenOffsets } = batch;
  if (!(sequences >= 0) || sequences > limits.maxSequences) {
    throw badBatch('sequences', sequences, `at most maxSequences (${limits.maxSequences})`);
  }
  if (tokenOffsets.length < sequences + 1) {
    throw badBatch('tokenOffsets.length', tokenOffsets.length, `at least sequences + 1 (${sequences + 1})`);
  }
  if (tokenOffsets[0] !== 0) throw badBatch('tokenOffsets[0]', tokenOffsets[0], '0');
  const tokens = tokenOffsets[sequences]!;
  if (tokens > limits.maxBatchTokens) {
    throw badBatch('new tokens', tokens, `at most maxBatchTokens (${limits.maxBatchTokens})`);
  }
  if (batch.tokens.length < tokens)
    throw badBatch('tokens.length', batch.tokens.length, `at least ${tokens}`);
  if (batch.contextStarts.length < sequences) {
    throw badBatch('contextStarts.length', batch.contextStarts.length, `at least ${sequences}`);
  }
  if (batch.blockTables.length < sequences * batch.blockTableStride) {
    throw badBatch(
      'blockTables.length',
      batch.blockTables.length,
      `at least ${sequences * batch.blockTableStride}`,
    );
  }
  for (let s = 0; s < sequences; s++) checkSequence(batch, limits, s);
  checkTokens(batch.tokens, tokens, limits.vocabulary);
  return tokens;
}

function checkSequence(batch: StepBatch, limits: BatchLimits, s: number): void {
  const count = batch.tokenOffsets[s + 1]! - batch.tokenOffsets[s]!;
  if (count < 1) throw badBatch(`new tokens of sequence ${s}`, count, 'at least 1');
  const start = batch.contextStarts[s]!;
  if (start < 0) throw badBatch(`contextStarts[${s}]`, start, 'at least 0');
  const length = start + count;
  if (length > limits.maxContextTokens) throw contextTooLong(length, limits.maxContextTokens);
  const blocks = Math.ceil(length / limits.blockSizeTokens);
  if (blocks > batch.blockTableStride) {
    throw badBatch('blockTableStride', batch.blockTableStride, `at least ${blocks} for ${length} tokens`);
  }
  for (let b = 0; b < blocks; b++) {
    checkBlock(batch.blockTables[s * batch.blockTableStride + b]!, limits.blocks);
  }
}

/** @throws ModelError `model/bad-token` unless every id is in the vocabulary. */
export function checkTokens(tokens: Int32Array, count: number, vocabulary: number): void {
  for (let i = 0; i < count; i++) {
    const token = tokens[i]!;
    if (token >= 0 && token < vocabulary) continue;
    throw new ModelError({
      code: 'model/bad-token',
      message: `expected token ids from 0 to ${vocabulary - 1}, got ${token} at position ${i}`,
      value: token,
      remedy: 'encode the text with the tokenizer of this checkpoint',
    });
  }
}

/** @throws ModelError `model/bad-blocks` unless `block` is a block of the pool. */
export function checkBlock(block: number, blocks: number): void {
  if (block >= 0 && block < blocks) return;
  throw new ModelError({
    code: 'model/bad-blocks',
    message: `expected block ids from 0 to ${blocks - 1}, got ${block}`,
    value: block,
    remedy: 'pass block ids of this runtime, as many as it was opened with',
  });
}

export function contextTooLong(tokens: number, maximum: number): ModelError {
  return new ModelError({
    code: 'model/context-too-long',
    message: `expected at most ${maximum} tokens of context, got ${tokens}`,
    value: tokens,
    remedy:
      'shorten the prompt, or open the model with a larger maxContextTokens if its position range allows it',
  });
}

function badBatch(what: string, value: unknown, expected: string): ModelError {
  return new ModelError({
    code: 'model/bad-batch',
    message: `expected ${expected} for ${what}, got ${String(value)}`,
    value,
    remedy: 'build batches within the limits that the runtime was opened with',
  });
}
