import { type Arrivals, type Lengths, Workload } from '../cost/deployment.js';
import { read } from '../cost/read.js';
import { gammaOfMeanOne, normal, seededRandom } from './random.js';
import type { RequestSource, SimulatedRequest } from './request-source.js';

/**
 * Requests drawn from a workload's distributions; the same for the same seed.
 *
 * @param options - `requests`: how many; `seed`, default 1.
 */
export function syntheticRequests(
  workload: Workload,
  options: { requests: number; seed?: number },
): RequestSource {
  const { inputTokens, outputTokens, cachedFraction, arrivals, requestsPerSecond } = read(
    Workload,
    workload,
    'workload',
  );
  const random = seededRandom(options.seed ?? 1);
  const gapUs = gaps(arrivals, requestsPerSecond, random);
  let left = options.requests;
  let nowUs = 0;
  return {
    next(request: SimulatedRequest): boolean {
      if (left-- <= 0) return false;
      nowUs += gapUs();
      request.arrivalUs = Math.round(nowUs);
      request.inputTokens = draw(inputTokens, random);
      request.outputTokens = draw(outputTokens, random);
      request.blocks = [];
      request.cachedTokens = Math.min(
        request.inputTokens - 1,
        Math.floor(request.inputTokens * cachedFraction),
      );
      return true;
    },
  };
}

/** Mean of a distribution of lengths, before it is cut off at its maximum. */
export function meanLength(lengths: Lengths): number {
  switch (lengths.kind) {
    case 'fixed':
      return lengths.tokens;
    case 'uniform':
      return (lengths.minimum + lengths.maximum) / 2;
    case 'logNormal':
      return lengths.mean;
    case 'empirical':
      return lengths.tokens.reduce((sum, tokens) => sum + tokens, 0) / lengths.tokens.length;
  }
}

/** Largest length of a distribution. */
export function longestLength(lengths: Lengths): number {
  switch (lengths.kind) {
    case 'fixed':
      return lengths.tokens;
    case 'uniform':
    case 'logNormal':
      return lengths.maximum;
    case 'empirical':
      return lengths.tokens.reduce((most, tokens) => Math.max(most, tokens), 1);
  }
}

function draw(lengths: Lengths, random: () => number): number {
  switch (lengths.kind) {
    case 'fixed':
      return lengths.tokens;
    case 'uniform':
      return lengths.minimum + Math.floor(random() * (lengths.maximum - lengths.minimum + 1));
    case 'logNormal': {
      const spread = Math.log1p(lengths.deviation * lengths.deviation);
      const value = Math.exp(Math.log(lengths.mean) - spread / 2 + Math.sqrt(spread) * normal(random));
      return Math.min(lengths.maximum, Math.max(1, Math.round(value)));
    }
    case 'empirical':
      return lengths.tokens[Math.floor(random() * lengths.tokens.length)]!;
  }
}

function gaps(arrivals: Arrivals, perSecond: number, random: () => number): () => number {
  const meanUs = 1e6 / perSecond;
  switch (arrivals.kind) {
    case 'closed':
      return () => 0;
    case 'poisson':
      return () => -Math.log(1 - random()) * meanUs;
    case 'gamma':
      return () => gammaOfMeanOne(random, arrivals.deviation) * meanUs;
    case 'bursts': {
      // Silence between bursts restores the mean rate.
      const { factor, burstSeconds } = arrivals;
      const burstUs = burstSeconds * 1e6;
      let leftUs = burstUs;
      return () => {
        let gap = (-Math.log(1 - random()) * meanUs) / factor;
        leftUs -= gap;
        if (leftUs < 0) {
          const ended = Math.ceil(-leftUs / burstUs);
          leftUs += ended * burstUs;
          gap += ended * burstUs * (factor - 1);
        }
        return gap;
      };
    }
  }
}
