import type { Arrivals, Lengths, Workload } from '../cost/deployment.js';

/** What a planner must know of the traffic, in numbers. */
export interface Traffic {
  readonly requestsPerSecond: number;
  /** Tokens of a prompt. */
  readonly inputMean: number;
  /** Tokens of a prompt that no cache holds. */
  readonly newMean: number;
  readonly cachedMean: number;
  /** Uncached tokens of the prompt at the quantile of the SLO. */
  readonly newAtQuantile: number;
  readonly outputMean: number;
  /** Tokens that a running request holds, averaged over the time that it decodes. */
  readonly contextMean: number;
  /** Squared coefficient of variation of the gaps between arrivals, and of the uncached tokens. */
  readonly arrivalVariation: number;
  readonly newVariation: number;
  /** Rate and length of bursts, if arrivals have them. */
  readonly burst: { readonly factor: number; readonly seconds: number } | null;
  /** Users of a closed loop, if arrivals are one. */
  readonly concurrency: number | null;
}

const gridPoints = 1024;

/** Traffic figures of a workload; `quantile` is that of the SLO. */
export function trafficOf(workload: Workload, quantile: number): Traffic {
  const inputs = momentsOf(workload.inputTokens);
  const outputs = momentsOf(workload.outputTokens);
  const uncached = 1 - workload.cachedFraction;
  // At least the last token of a prompt is computed.
  const newMean = Math.max(1, inputs.mean * uncached);
  return {
    requestsPerSecond: workload.requestsPerSecond,
    inputMean: inputs.mean,
    newMean,
    cachedMean: inputs.mean - newMean,
    newAtQuantile: Math.max(1, quantileOf(workload.inputTokens, quantile) * uncached),
    outputMean: outputs.mean,
    // A long answer decodes longer: its context counts by its length.
    contextMean: inputs.mean + outputs.square / (2 * outputs.mean),
    arrivalVariation: arrivalVariation(workload.arrivals),
    newVariation: inputs.square / inputs.mean ** 2 - 1,
    burst:
      workload.arrivals.kind === 'bursts' && workload.arrivals.factor > 1
        ? { factor: workload.arrivals.factor, seconds: workload.arrivals.burstSeconds }
        : null,
    concurrency: workload.arrivals.kind === 'closed' ? workload.arrivals.concurrency : null,
  };
}

function arrivalVariation(arrivals: Arrivals): number {
  switch (arrivals.kind) {
    case 'gamma':
      return arrivals.deviation ** 2;
    // The queue that a burst leaves is counted apart; within it arrivals are Poisson.
    case 'poisson':
    case 'bursts':
      return 1;
    // A user sends when answered: the population bounds the queue.
    case 'closed':
      return 0.5;
  }
}

function momentsOf(lengths: Lengths): { mean: number; square: number } {
  if (lengths.kind === 'empirical') {
    let total = 0;
    let square = 0;
    for (const tokens of lengths.tokens) {
      total += tokens;
      square += tokens * tokens;
    }
    return { mean: total / lengths.tokens.length, square: square / lengths.tokens.length };
  }
  if (lengths.kind === 'fixed') return { mean: lengths.tokens, square: lengths.tokens ** 2 };
  let total = 0;
  let square = 0;
  for (let i = 0; i < gridPoints; i++) {
    const tokens = quantileOf(lengths, (i + 0.5) / gridPoints);
    total += tokens;
    square += tokens * tokens;
  }
  return { mean: total / gridPoints, square: square / gridPoints };
}

/** Tokens below which a share of the lengths lies. */
export function quantileOf(lengths: Lengths, share: number): number {
  switch (lengths.kind) {
    case 'fixed':
      return lengths.tokens;
    case 'uniform':
      return lengths.minimum + share * (lengths.maximum - lengths.minimum);
    case 'logNormal': {
      const variance = Math.log(1 + lengths.deviation ** 2);
      const location = Math.log(lengths.mean) - variance / 2;
      const tokens = Math.exp(location + Math.sqrt(variance) * normalQuantile(share));
      return Math.min(lengths.maximum, Math.max(1, tokens));
    }
    case 'empirical': {
      const sorted = Float64Array.from(lengths.tokens).sort();
      const place = share * (sorted.length - 1);
      const low = Math.floor(place);
      const high = Math.min(sorted.length - 1, low + 1);
      return sorted[low]! + (place - low) * (sorted[high]! - sorted[low]!);
    }
  }
}

/** Inverse of the standard normal distribution by bisection of its series-free approximation (error below 1e-7). */
export function normalQuantile(share: number): number {
  if (share === 0.5) return 0;
  const tail = Math.min(share, 1 - share);
  let low = 0;
  let high = 9;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (normalTail(middle) > tail) low = middle;
    else high = middle;
  }
  return share < 0.5 ? -low : low;
}

/** Probability above `x` >= 0 (Abramowitz and Stegun 26.2.17). */
function normalTail(x: number): number {
  const t = 1 / (1 + 0.2316419 * x);
  const polynomial =
    t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) * polynomial;
}
