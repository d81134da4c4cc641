import type { BatchLimits, StepBatch } from './step-batch.js';

/** Fewest tokens of a batch that is split inside a sequence. */
export const LEAST_SPLIT = 32;

/** Splits batches into two of similar size. */
export class BatchSplitter {
  readonly first: StepBatch;
  readonly second: StepBatch;
  private readonly firstOffsets: Int32Array;

  constructor(limits: BatchLimits) {
    const none = new Int32Array(0);
    this.first = {
      sequences: 0,
      tokens: none,
      tokenOffsets: none,
      contextStarts: none,
      blockTables: none,
      blockTableStride: 0,
    };
    this.firstOffsets = new Int32Array(limits.maxSequences + 1);
    this.second = {
      ...this.first,
      tokens: new Int32Array(limits.maxBatchTokens),
      tokenOffsets: new Int32Array(limits.maxSequences + 1),
      contextStarts: new Int32Array(limits.maxSequences),
    };
  }

  /**
   * Fills both parts; either may be empty. Returns the tokens of the first.
   *
   * @param inside - where no boundary of sequences is near the middle, a long batch is split inside one, whose later tokens see the cache entries of the earlier
   * ones: for schedules in which the first part is ahead in every layer.
   */
  split(batch: StepBatch, inside: boolean): number {
    const { tokenOffsets, sequences } = batch;
    const total = tokenOffsets[sequences]!;
    const half = total / 2;
    let count = 0;
    // The boundary nearest to the middle.
    while (count < sequences && tokenOffsets[count + 1]! - half <= half - tokenOffsets[count]!) count++;
    const tokens = tokenOffsets[count]!;
    if (!inside || total < LEAST_SPLIT || Math.abs(tokens - half) <= total / 8) {
      return this.fill(batch, count, tokens);
    }
    const middle = Math.floor(half);
    while (count > 0 && tokenOffsets[count]! > middle) count--;
    while (tokenOffsets[count + 1]! <= middle) count++;
    return this.fill(batch, count, middle);
  }

  /** The first `count` sequences and what is left of `tokens` of the next one; then the rest of that and the others. */
  private fill(batch: StepBatch, count: number, tokens: number): number {
    const { first, second, firstOffsets } = this;
    const { tokenOffsets, sequences, blockTableStride } = batch;
    const cut = tokens - tokenOffsets[count]!;
    Object.assign(first, batch, { sequences: cut > 0 ? count + 1 : count });
    if (cut > 0) {
      for (let s = 0; s <= count; s++) firstOffsets[s] = tokenOffsets[s]!;
      firstOffsets[count + 1] = tokens;
      first.tokenOffsets = firstOffsets;
    }
    second.sequences = sequences - count;
    second.tokens.set(batch.tokens.subarray(tokens, tokenOffsets[sequences]!));
    for (let s = count; s < sequences; s++) {
      second.tokenOffsets[s - count + 1] = tokenOffsets[s + 1]! - tokens;
      second.contextStarts[s - count] = batch.contextStarts[s]!;
    }
    if (cut > 0) second.contextStarts[0] = second.contextStarts[0]! + cut;
    second.blockTables = batch.blockTables.subarray(count * blockTableStride);
    second.blockTableStride = blockTableStride;
    return tokens;
  }
}
