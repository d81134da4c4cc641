import { badOption } from '../errors.js';
import { seededRandom } from '../random.js';
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
const MAX_REQUESTS = 10_000_000;

/** Requests of one size that arrive by chance. */
export function syntheticTrace(options: SyntheticTraceOptions): LoadTrace {
  const { requests, ratePerSecond, inputTokens, outputTokens, sharedFraction = 0, seed = 1 } = options;
  const isCount = (value: number) => Number.isInteger(value) && value >= 1;
  if (!isCount(requests) || requests > MAX_REQUESTS)
    throw badOption('requests', requests, `an integer from 1 to ${MAX_REQUESTS}`);
  if (!(ratePerSecond > 0 && Number.isFinite(ratePerSecond)))
    throw badOption('ratePerSecond', ratePerSecond, 'a finite number above 0');
  if (!isCount(inputTokens)) throw badOption('inputTokens', inputTokens, 'an integer from 1 on');
  if (!isCount(outputTokens)) throw badOption('outputTokens', outputTokens, 'an integer from 1 on');
  if (!(sharedFraction >= 0 && sharedFraction <= 1))
    throw badOption('sharedFraction', sharedFraction, 'a number from 0 to 1');
  const random = seededRandom(seed);
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
