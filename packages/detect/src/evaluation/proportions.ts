import { needBetween, needInteger } from '../scores/checks.js';
import type { ConfidenceOptions, Interval } from './delong.js';
import { betaQuantile, normalQuantile } from './special-functions.js';

/** Wilson's score interval for `successes` of `trials`. */
export function wilsonInterval(successes: number, trials: number, options: ConfidenceOptions = {}): Interval {
  const tail = tailOf(successes, trials, options);
  const z = normalQuantile(1 - tail);
  const p = successes / trials;
  const scale = 1 + z ** 2 / trials;
  const center = (p + z ** 2 / (2 * trials)) / scale;
  const half = (z / scale) * Math.sqrt((p * (1 - p)) / trials + z ** 2 / (4 * trials ** 2));
  return {
    low: successes === 0 ? 0 : Math.max(center - half, 0),
    high: successes === trials ? 1 : Math.min(center + half, 1),
  };
}

/** The exact interval of Clopper and Pearson: never too short, usually too long. */
export function clopperPearsonInterval(
  successes: number,
  trials: number,
  options: ConfidenceOptions = {},
): Interval {
  const tail = tailOf(successes, trials, options);
  return {
    low: successes === 0 ? 0 : betaQuantile(tail, successes, trials - successes + 1),
    high: successes === trials ? 1 : betaQuantile(1 - tail, successes + 1, trials - successes),
  };
}

function tailOf(successes: number, trials: number, options: ConfidenceOptions): number {
  const confidence = options.confidence ?? 0.95;
  needInteger('trials', trials, 1, Number.MAX_SAFE_INTEGER);
  needInteger('successes', successes, 0, trials);
  needBetween('confidence', confidence, 0, 1);
  return (1 - confidence) / 2;
}
