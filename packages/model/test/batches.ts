import type { StepBatch } from '../src/index.js';

const CONTEXT = 256;

/** Sizes that the golden prompts fit into. */
export const SIZES = { blocks: CONTEXT / 16, maxBatchTokens: 96, maxSequences: 1, maxContextTokens: CONTEXT };

/** A batch of one sequence, or an empty one. */
export function batchOf(tokens: Int32Array, start = 0): StepBatch {
  return {
    sequences: tokens.length === 0 ? 0 : 1,
    tokens,
    tokenOffsets: Int32Array.of(0, tokens.length),
    contextStarts: Int32Array.of(start),
    blockTables: Int32Array.from({ length: SIZES.blocks }, (_, block) => block),
    blockTableStride: SIZES.blocks,
  };
}
