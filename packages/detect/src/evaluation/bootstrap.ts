import { needBetween, needInteger, needLength } from '../scores/checks.js';
import type { Interval } from './delong.js';
import { stepsOf } from './labelled-scores.js';

/** Options of {@link bootstrapAuc}. */
export interface BootstrapOptions {
  /** Default 1000. */
  readonly resamples?: number;
  /** Uniform numbers in [0, 1), seeded by the caller. */
  readonly random: () => number;
  /** Default 0.95. */
  readonly confidence?: number;
}

/** A percentile interval and the values behind it. */
export interface BootstrapResult {
  readonly interval: Interval;
  /** AUC of every resample. */
  readonly aucs: Float64Array;
}

/** Percentile bootstrap of the AUC, human and AI texts resampled separately. */
export function bootstrapAuc(
  human: ArrayLike<number>,
  ai: ArrayLike<number>,
  options: BootstrapOptions,
): BootstrapResult {
  const { resamples = 1000, random, confidence = 0.95 } = options;
  needInteger('resamples', resamples, 2, 1_000_000);
  const aucOf = resampler(human, ai);
  const humanIndices = new Int32Array(human.length);
  const aiIndices = new Int32Array(ai.length);
  const aucs = new Float64Array(resamples);
  for (let b = 0; b < resamples; b++) {
    for (let i = 0; i < human.length; i++) humanIndices[i] = Math.floor(random() * human.length);
    for (let i = 0; i < ai.length; i++) aiIndices[i] = Math.floor(random() * ai.length);
    aucs[b] = aucOf(humanIndices, aiIndices);
  }
  return { interval: percentileInterval(aucs, confidence), aucs };
}

/** AUC of given resamples: `resampler(human, ai)(humanIndices, aiIndices)`. Linear in the number of texts. */
export function resampler(
  human: ArrayLike<number>,
  ai: ArrayLike<number>,
): (humanIndices: ArrayLike<number>, aiIndices: ArrayLike<number>) => number {
  const { thresholds } = stepsOf(human, ai);
  const place = new Map<number, number>();
  thresholds.forEach((score, i) => {
    place.set(score, i);
  });
  const humanPlaces = Int32Array.from(human, (score) => place.get(score)!);
  const aiPlaces = Int32Array.from(ai, (score) => place.get(score)!);
  const humanCounts = new Int32Array(thresholds.length);
  const aiCounts = new Int32Array(thresholds.length);
  return (humanIndices, aiIndices) => {
    needLength('humanIndices', humanIndices, human.length);
    needLength('aiIndices', aiIndices, ai.length);
    humanCounts.fill(0);
    aiCounts.fill(0);
    for (let i = 0; i < humanIndices.length; i++) humanCounts[humanPlaces[humanIndices[i]!]!]!++;
    for (let i = 0; i < aiIndices.length; i++) aiCounts[aiPlaces[aiIndices[i]!]!]!++;
    // Thresholds descend: AI scores seen so far beat the human ones at this place.
    let above = 0;
    let twice = 0;
    for (let i = 0; i < thresholds.length; i++) {
      twice += humanCounts[i]! * (2 * above + aiCounts[i]!);
      above += aiCounts[i]!;
    }
    return twice / 2 / (human.length * ai.length);
  };
}

/** Central percentile interval, linear between order statistics. */
export function percentileInterval(values: ArrayLike<number>, confidence: number): Interval {
  needBetween('confidence', confidence, 0, 1);
  needInteger('values.length', values.length, 1, Number.MAX_SAFE_INTEGER);
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => {
    const position = share * (sorted.length - 1);
    const low = Math.floor(position);
    const high = Math.min(low + 1, sorted.length - 1);
    return sorted[low]! + (position - low) * (sorted[high]! - sorted[low]!);
  };
  const tail = (1 - confidence) / 2;
  return { low: at(tail), high: at(1 - tail) };
}
