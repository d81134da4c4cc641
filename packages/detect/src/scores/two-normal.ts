import { needBetween } from './checks.js';

/** Two normal distributions of a score, human (0) and AI (1), with equal priors. */
export interface TwoNormal {
  readonly mu0: number;
  readonly sigma0: number;
  readonly mu1: number;
  readonly sigma1: number;
}

/** Options of {@link twoNormalProbability}. */
export interface TwoNormalOptions {
  /**
   * Default true: where sigma1 differs from sigma0 the posterior has one minimum or maximum and turns back beyond it; it is
   * held there, so that a more human score never reads as more AI. False gives the raw posterior.
   */
  readonly monotone?: boolean;
}

/** The parameters that Fast-DetectGPT publishes (sigma1 = 2 sigma0), by reference and scoring model. */
export const FAST_DETECT_GPT_NORMALS: Readonly<Record<string, TwoNormal>> = {
  'gpt-j-6B_gpt-neo-2.7B': { mu0: 0.2713, sigma0: 0.9366, mu1: 2.2334, sigma1: 1.8732 },
  'gpt-neo-2.7B_gpt-neo-2.7B': { mu0: -0.2489, sigma0: 0.9968, mu1: 1.8983, sigma1: 1.9936 },
  'falcon-7b_falcon-7b-instruct': { mu0: -0.0707, sigma0: 0.952, mu1: 2.9306, sigma1: 1.904 },
  'llama3-8b_llama3-8b-instruct': { mu0: 0.1603, sigma0: 1.0791, mu1: 2.4686, sigma1: 2.1582 },
};

/** Probability of AI given a score: n1 / (n0 + n1) of the two densities. */
export function twoNormalProbability(
  score: number,
  normals: TwoNormal,
  options: TwoNormalOptions = {},
): number {
  const { mu0, sigma0, mu1, sigma1 } = normals;
  needBetween('sigma0', sigma0, 0, Infinity);
  needBetween('sigma1', sigma1, 0, Infinity);
  let x = score;
  if (options.monotone !== false && sigma0 !== sigma1) {
    // The log ratio of the densities is a parabola in x; its vertex is where the derivative of both exponents agrees.
    const vertex = mu0 + ((mu0 - mu1) * sigma0 ** 2) / ((sigma1 - sigma0) * (sigma1 + sigma0));
    x = mu1 >= mu0 === sigma1 > sigma0 ? Math.max(score, vertex) : Math.min(score, vertex);
  }
  if (x === Infinity || x === -Infinity) {
    // Only the wider distribution reaches there (equal widths: the nearer one).
    if (sigma0 !== sigma1) return sigma1 > sigma0 ? 1 : 0;
    return mu0 === mu1 ? 0.5 : x > 0 === mu1 > mu0 ? 1 : 0;
  }
  // (u^2 - v^2) / 2 by its factors, with u - v on a common denominator: nothing cancels where the widths nearly agree.
  const sum = (x - mu1) / sigma1 + (x - mu0) / sigma0;
  const difference = (x * (sigma0 - sigma1) - mu1 * sigma0 + mu0 * sigma1) / (sigma0 * sigma1);
  const logRatio = Math.log1p((sigma1 - sigma0) / sigma0) + (difference * sum) / 2;
  return 1 / (1 + Math.exp(logRatio));
}
