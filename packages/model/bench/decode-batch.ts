import type { ModelRuntime, StepBatch } from '../src/index.js';

/** Tokens of context of each sequence of {@link decodeBatch}. */
export const CONTEXT = 128;

/** Any tokens of a vocabulary. */
export function tokensOf(count: number, vocabulary: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => (i * 7919 + 13) % vocabulary);
}

/** One new token for each of `sequences`; the caches behind them hold zeros, whose cost is the same. */
export function decodeBatch(runtime: Pick<ModelRuntime, 'config'>, sequences: number): StepBatch {
  return {
    sequences,
    tokens: tokensOf(sequences, runtime.config.vocab_size),
    tokenOffsets: Int32Array.from({ length: sequences + 1 }, (_, i) => i),
    contextStarts: new Int32Array(sequences).fill(CONTEXT),
    blockTables: Int32Array.from({ length: sequences * 16 }, (_, i) => i),
    blockTableStride: 16,
  };
}
