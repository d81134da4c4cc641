import { exp64 as exp } from '@moestack/kernels';

const SERIES_BELOW = 3;
const MAX_TERMS = 200;

/** Density of the standard normal distribution. */
export function normalDensity(x: number): number {
  return exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
}

/** Cumulative distribution function of the standard normal distribution, to about 1e-15. */
export function normalCdf(x: number): number {
  const z = Math.abs(x);
  if (z > 38) return x > 0 ? 1 : 0;
  const density = normalDensity(z);
  if (z < SERIES_BELOW) {
    // Phi(z) = 1/2 + phi(z) (z + z^3/3 + z^5/15 + ...): all terms positive, so nothing cancels.
    let term = z;
    let sum = z;
    for (let n = 3; n < MAX_TERMS && term > sum * 1e-17; n += 2) {
      term *= (z * z) / n;
      sum += term;
    }
    return x > 0 ? 0.5 + density * sum : 0.5 - density * sum;
  }
  // Laplace's continued fraction of the tail, from the far end.
  let fraction = z;
  for (let n = MAX_TERMS; n >= 1; n--) fraction = z + n / fraction;
  const tail = density / fraction;
  return x > 0 ? 1 - tail : tail;
}
