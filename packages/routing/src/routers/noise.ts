import { badConfig, requireInteger, requireLength, requireNumber, requireOneOf } from '../operands.js';
import type { RandomSource } from '../random.js';

/**
 * Noise on router logits during training: `jitter` multiplies by uniform numbers in [1 - epsilon, 1 + epsilon] (Switch Transformer),
 * `gumbel` adds scale * Gumbel(0, 1) (sampling without replacement by top-k), `gaussian` adds N(0, deviation^2) (noisy top-k
 * gates), `forcedBalance` replaces the logits by N(0, 1), so that every expert is equally likely (for measuring speed).
 */
export type RouterNoise =
  | { kind: 'jitter'; epsilon: number }
  | { kind: 'gumbel'; scale?: number }
  | { kind: 'gaussian'; deviation: number }
  | { kind: 'forcedBalance' };

/** Keeps log(0) away. */
const SMALLEST_UNIFORM = 2 ** -33;

/**
 * Writes noisy logits.
 *
 * @param logits - router logits; not changed unless they are `out` too.
 */
export function addNoise(
  logits: Float32Array,
  noise: RouterNoise,
  options: { random: RandomSource; out?: Float32Array },
): Float32Array {
  const { random, out = new Float32Array(logits.length) } = options;
  requireOneOf('kind', noise.kind, ['jitter', 'gumbel', 'gaussian', 'forcedBalance']);
  requireLength('out', out.length, logits.length, 'as the logits');
  const length = logits.length;
  if (noise.kind === 'jitter') {
    const epsilon = requireNumber('epsilon', noise.epsilon, 0);
    for (let i = 0; i < length; i++) out[i] = logits[i]! * (1 - epsilon + 2 * epsilon * random());
  } else if (noise.kind === 'gumbel') {
    const scale = requireNumber('scale', noise.scale ?? 1, 0);
    for (let i = 0; i < length; i++) {
      out[i] = logits[i]! - scale * Math.log(-Math.log(Math.max(random(), SMALLEST_UNIFORM)));
    }
  } else if (noise.kind === 'gaussian') {
    const deviation = requireNumber('deviation', noise.deviation, 0);
    for (let i = 0; i < length; i++) out[i] = logits[i]! + deviation * normal(random);
  } else for (let i = 0; i < length; i++) out[i] = normal(random);
  return out;
}

/**
 * Experts dealt out in turn, so that counts differ by at most 1: exact balance, for measuring speed.
 *
 * @returns indices [T, K]
 */
export function balancedIndices(tokens: number, options: { experts: number; topK: number }): Int32Array {
  const experts = requireInteger('experts', options.experts, 1, 1 << 20);
  const topK = requireInteger('topK', options.topK, 1, experts);
  if (!Number.isInteger(tokens) || tokens < 0 || tokens * topK > 2 ** 31 - 1) {
    throw badConfig(`expected a number of tokens, got ${tokens}`, tokens, 'pass T');
  }
  return Int32Array.from({ length: tokens * topK }, (_, i) => i % experts);
}

/** Box and Muller's transform; one of its two numbers. */
function normal(random: RandomSource): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
