// A token source that worker threads can import.
export function createTokenSource({ batchSequences, ranks, contextTokens, model }) {
  const size = (batchSequences / ranks) * (contextTokens + 1);
  return {
    batch: (step, rank) =>
      Int32Array.from({ length: size }, (_, i) => (i * i + 7 * step + 11 * rank) % model.vocabularySize),
  };
}
