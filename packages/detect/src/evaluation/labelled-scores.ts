import { DetectError } from '../errors.js';

/** Scores of human and AI texts, oriented so that high means AI. */
export interface LabelledScores {
  readonly human: Float64Array;
  readonly ai: Float64Array;
}

/**
 * Splits scores by label.
 *
 * @param orientation - `low` negates the scores, so that high means AI afterwards; default `high`
 * @throws DetectError for unequal lengths or a NaN score; infinities are scores like others
 */
export function splitByLabel(
  scores: ArrayLike<number>,
  isAi: ArrayLike<number>,
  orientation: 'high' | 'low' = 'high',
): LabelledScores {
  if (scores.length !== isAi.length) {
    throw new DetectError({
      code: 'detect/bad-shape',
      message: `expected a label for each of ${scores.length} scores, got ${isAi.length}`,
      value: isAi.length,
      remedy: 'pass isAi in the shape of scores, 1 for AI and 0 for human',
    });
  }
  const sign = orientation === 'low' ? -1 : 1;
  let positives = 0;
  for (let i = 0; i < isAi.length; i++) if (isAi[i] !== 0) positives++;
  const ai = new Float64Array(positives);
  const human = new Float64Array(scores.length - positives);
  let a = 0;
  let h = 0;
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i]!;
    if (Number.isNaN(score)) throw notANumber(i);
    // Adding 0 turns -0 into 0: typed-array sorting and Map keys tell them apart.
    if (isAi[i] !== 0) ai[a++] = sign * score + 0;
    else human[h++] = sign * score + 0;
  }
  return { human, ai };
}

/** A checked, ascending copy of one class's scores. */
export function ascending(name: 'human' | 'ai', scores: ArrayLike<number>, least: number = 1): Float64Array {
  if (scores.length < least) {
    throw new DetectError({
      code: 'detect/too-short',
      message: `expected at least ${least} ${name} ${least === 1 ? 'score' : 'scores'}, got ${scores.length}`,
      value: scores.length,
      remedy: 'evaluate on texts of both kinds',
    });
  }
  const sorted = Float64Array.from(scores, (score) => score + 0).sort();
  // Sorting puts NaN last.
  if (Number.isNaN(sorted[sorted.length - 1]!)) {
    throw notANumber(Array.prototype.findIndex.call(scores, (score) => Number.isNaN(score)));
  }
  return sorted;
}

function notANumber(index: number): DetectError {
  return new DetectError({
    code: 'detect/not-finite',
    message: `expected scores that are numbers, got NaN at index ${index}`,
    value: index,
    remedy: 'leave texts out on which the detector abstained, and report how many they were',
  });
}

/** Number of elements of an ascending array that are below `value` (or at most `value`). */
export function countBelow(sorted: Float64Array, value: number, orEqual: boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const element = sorted[middle]!;
    if (element < value || (orEqual && element === value)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Distinct scores in descending order with the number of human and AI scores at or above each. */
export interface Steps {
  readonly thresholds: Float64Array;
  readonly falsePositives: Float64Array;
  readonly truePositives: Float64Array;
  readonly humans: number;
  readonly ais: number;
}

/** Merges both classes into {@link Steps}. */
export function stepsOf(human: ArrayLike<number>, ai: ArrayLike<number>): Steps {
  const h = ascending('human', human);
  const a = ascending('ai', ai);
  const size = h.length + a.length;
  const thresholds = new Float64Array(size);
  const falsePositives = new Float64Array(size);
  const truePositives = new Float64Array(size);
  let i = h.length - 1;
  let j = a.length - 1;
  let count = 0;
  while (i >= 0 || j >= 0) {
    const score = i < 0 ? a[j]! : j < 0 ? h[i]! : Math.max(h[i]!, a[j]!);
    while (i >= 0 && h[i] === score) i--;
    while (j >= 0 && a[j] === score) j--;
    thresholds[count] = score;
    falsePositives[count] = h.length - 1 - i;
    truePositives[count] = a.length - 1 - j;
    count++;
  }
  return {
    thresholds: thresholds.subarray(0, count),
    falsePositives: falsePositives.subarray(0, count),
    truePositives: truePositives.subarray(0, count),
    humans: h.length,
    ais: a.length,
  };
}
