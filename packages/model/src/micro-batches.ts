import type { BatchLimits, StepBatch } from './step-batch.js';

/** Splits batches into two of similar size, at a boundary of sequences. */
export class BatchSplitter {
  /** The first part; its arrays are those of the batch. */
  readonly first: StepBatch;
  readonly second: StepBatch;

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
    this.second = {
      ...this.first,
      tokens: new Int32Array(limits.maxBatchTokens),
      tokenOffsets: new Int32Array(limits.maxSequences + 1),
      contextStarts: new Int32Array(limits.maxSequences),
    };
  }

  /** Fills both parts; either may be empty. Returns the tokens of the first. */
  split(batch: StepBatch): number {
    const { first, second } = this;
    const { tokenOffsets, sequences, blockTableStride } = batch;
    const half = tokenOffsets[sequences]! / 2;
    let count = 0;
    // The boundary nearest to the middle.
    while (count < sequences && tokenOffsets[count + 1]! - half <= half - tokenOffsets[count]!) count++;
    const tokens = tokenOffsets[count]!;
    Object.assign(first, batch, { sequences: count });
    second.sequences = sequences - count;
    second.tokens.set(batch.tokens.subarray(tokens, tokenOffsets[sequences]!));
    for (let s = count; s < sequences; s++) {
      second.tokenOffsets[s - count + 1] = tokenOffsets[s + 1]! - tokens;
      second.contextStarts[s - count] = batch.contextStarts[s]!;
    }
    second.blockTables = batch.blockTables.subarray(count * blockTableStride);
    second.blockTableStride = blockTableStride;
    return tokens;
  }
}
