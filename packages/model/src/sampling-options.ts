import { ModelError } from './errors.js';

/** How the next token of a request is chosen. */
export interface SamplingOptions {
  /** 0 = greedy: the largest logit, the lowest id among equals. Default 1. */
  readonly temperature?: number;
  /** Keep the most probable tokens whose probabilities reach this sum. In (0, 1], default 1. */
  readonly topP?: number;
  /** Keep this many tokens. 0 or -1 (default) = all. */
  readonly topK?: number;
  /** Keep tokens at least this fraction as probable as the best. In [0, 1], default 0. */
  readonly minP?: number;
  /** Default 0. Requests that should differ need different seeds. */
  readonly seed?: number;
}

/** {@link SamplingOptions} with every default filled in. */
export interface SamplingPolicy {
  readonly temperature: number;
  readonly topP: number;
  readonly topK: number;
  readonly minP: number;
  readonly seed: number;
}

/** Below this, weights over- and underflow; such temperatures mean greedy. */
const GREEDY_BELOW = 1e-5;
const MAXIMUM_TEMPERATURE = 100;

/**
 * Checks options and fills in defaults.
 *
 * @throws ModelError `model/bad-sampling` naming the field, its value and its range.
 */
export function samplingPolicy(options: SamplingOptions): SamplingPolicy {
  const { temperature = 1, topP = 1, topK = 0, minP = 0, seed = 0 } = options;
  if (!(temperature >= 0 && temperature <= MAXIMUM_TEMPERATURE)) {
    throw badSampling('temperature', temperature, `a number from 0 to ${MAXIMUM_TEMPERATURE}`);
  }
  if (!(topP > 0 && topP <= 1)) throw badSampling('topP', topP, 'a number above 0 and at most 1');
  if (!Number.isInteger(topK) || topK < -1)
    throw badSampling('topK', topK, 'a whole number, 0 or -1 for all tokens');
  if (!(minP >= 0 && minP <= 1)) throw badSampling('minP', minP, 'a number from 0 to 1');
  if (!Number.isSafeInteger(seed)) throw badSampling('seed', seed, 'a whole number below 2^53');
  return {
    temperature: temperature < GREEDY_BELOW ? 0 : temperature,
    topP,
    topK: Math.max(topK, 0),
    minP,
    seed,
  };
}

function badSampling(field: string, value: unknown, expected: string): ModelError {
  return new ModelError({
    code: 'model/bad-sampling',
    message: `expected ${expected} for ${field}, got ${String(value)}`,
    value,
    remedy: `pass ${expected}`,
  });
}
