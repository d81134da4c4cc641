import { stepsOf } from './labelled-scores.js';
import { rocAuc } from './roc.js';
import { normalSurvival } from './special-functions.js';

/** Result of {@link mannWhitney}. */
export interface MannWhitneyResult {
  /** Pairs in which the AI text scores higher, ties half. */
  readonly u: number;
  /** Two-sided p-value by the normal approximation with tie and continuity corrections. */
  readonly p: number;
}

/** Mann-Whitney U test of whether AI texts score differently from human ones. */
export function mannWhitney(human: ArrayLike<number>, ai: ArrayLike<number>): MannWhitneyResult {
  const { falsePositives, truePositives, humans, ais } = stepsOf(human, ai);
  const n = humans + ais;
  const u = rocAuc(human, ai) * humans * ais;
  let ties = 0;
  let before = 0;
  for (let i = 0; i < falsePositives.length; i++) {
    const count = falsePositives[i]! + truePositives[i]!;
    ties += (count - before) ** 3 - (count - before);
    before = count;
  }
  const center = (humans * ais) / 2;
  const spread = Math.sqrt(((humans * ais) / 12) * (n + 1 - ties / (n * (n - 1))));
  // All scores equal: no evidence.
  if (!(spread > 0)) return { u, p: 1 };
  const z = (Math.abs(u - center) - 0.5) / spread;
  return { u, p: Math.min(2 * normalSurvival(z), 1) };
}
