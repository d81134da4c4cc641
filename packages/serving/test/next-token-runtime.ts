import type { StageRuntime } from '../src/embedded/stage-runner.js';

/** A model whose next token is the last one plus one; the highest is followed by 0. */
export function nextTokenRuntime(vocabulary: number): StageRuntime {
  return {
    limits: { vocabulary, maxBatchTokens: 16, maxSequences: 8 },
    forward(batch) {
      const logits = new Float32Array(batch.sequences * vocabulary);
      for (let i = 0; i < batch.sequences; i++) {
        logits[i * vocabulary + ((batch.tokens[batch.tokenOffsets[i + 1]! - 1]! + 1) % vocabulary)] = 1;
      }
      return logits;
    },
    forwardAll: () => {
      throw new Error('not used here');
    },
  };
}
