import { ServingError } from '../errors.js';
import { createRandom } from './random.js';
import type { LoadTrace, TraceRequest } from './trace.js';

/** Options of {@link syntheticTrace}. */
export interface SyntheticTraceOptions {
  readonly requests: number;
  /** Arrivals form a Poisson process of this rate. */
  readonly ratePerSecond: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Fraction of every prompt that is the same for all requests; default 0. */
  readonly sharedFraction?: number;
  /** Default 1. */
  readonly seed?: number;
}

const BLOCK_TOKENS = 16;

/** Requests of one size that arrive by chance. */
export function syntheticTrace(options: SyntheticTraceOptions): LoadTrace {
  const { requests, ratePerSecond, inputTokens, outputTokens, sharedFraction = 0, seed = 1 } = options;
  check('requests', requests, Number.isInteger(requests) && requests >= 1 && requests <= 10_000_000);
  check('ratePerSecond', ratePerSecond, ratePerSecond > 0 && Number.isFinite(ratePerSecond));
  check('inputTokens', inputTokens, Number.isInteger(inputTokens) && inputTokens >= 1);
  check('outputTokens', outputTokens, Number.isInteger(outputTokens) && outputTokens >= 1);
  check('sharedFraction', sharedFraction, sharedFraction >= 0 && sharedFraction <= 1);
  const random = createRandom(seed);
  const shared = Math.floor((inputTokens * sharedFraction) / BLOCK_TOKENS);
  const sharedIds = Array.from({ length: shared }, (_, block) => block);
  const rows: TraceRequest[] = [];
  let seconds = 0;
  for (let row = 0; row < requests; row++) {
    rows.push({
      arrivalUs: Math.round(seconds * 1e6),
      inputTokens,
      outputTokens,
      ...(shared > 0 && { hashIds: sharedIds }),
    });
    seconds -= Math.log(1 - random()) / ratePerSecond;
  }
  return { name: 'synthetic', hashBlockTokens: BLOCK_TOKENS, requests: rows };
}

function check(name: string, value: unknown, isRight: boolean): void {
  if (isRight) return;
  throw new ServingError({
    code: 'serving/bad-options',
    message: `got ${String(value)} for ${name}`,
    value,
    remedy: 'pass positive numbers, whole ones for counts and lengths, and a fraction from 0 to 1',
    status: 400,
  });
}
