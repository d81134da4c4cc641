/**
 * One run of a model over a piece of a document: it reads `inputs` tokens from `start` on with an empty cache, and
 * its predictions count from input `firstScored` on; input `i` predicts token `start + i + 1`.
 */
export interface ScoringWindow {
  readonly start: number;
  readonly inputs: number;
  readonly firstScored: number;
}

/**
 * Covers a document of `tokens` tokens so that each but the first is predicted once.
 *
 * A document longer than `contextTokens` is read in windows that begin `strideTokens` apart; after the first window
 * only the last `strideTokens` predictions of each count, which have at least `contextTokens - strideTokens` tokens
 * before them.
 */
export function planWindows(tokens: number, contextTokens: number, strideTokens: number): ScoringWindow[] {
  const predictions = tokens - 1;
  if (predictions < 1) return [];
  const windows: ScoringWindow[] = [
    { start: 0, inputs: Math.min(contextTokens, predictions), firstScored: 0 },
  ];
  for (let scored = windows[0]!.inputs; scored < predictions; ) {
    const fresh = Math.min(strideTokens, predictions - scored);
    const inputs = Math.min(contextTokens, scored + fresh);
    windows.push({ start: scored + fresh - inputs, inputs, firstScored: inputs - fresh });
    scored += fresh;
  }
  return windows;
}
