import { RoutingError } from './errors.js';

/** Refuses arrays that are shorter than their shape says. */
export function requireLength(name: string, actual: number, needed: number, shape: string): void {
  if (actual < needed) {
    throw new RoutingError({
      code: 'routing/bad-shape',
      message: `expected at least ${needed} elements (${shape}) in ${name}, got ${actual}`,
      value: actual,
      remedy: `pass ${name} as ${shape}`,
    });
  }
}

/** Refuses token counts that are no counts. */
export function requireTokens(tokens: number): void {
  if (!Number.isInteger(tokens) || tokens < 0) {
    throw new RoutingError({
      code: 'routing/bad-shape',
      message: `expected an integer >= 0 for tokens, got ${tokens}`,
      value: tokens,
      remedy: 'pass the number of rows of logits',
    });
  }
}

/** Refuses NaN and infinities in the first `length` elements: no order could be given to them. */
export function requireFinite(name: string, values: Float32Array, length: number): void {
  for (let i = 0; i < length; i++) {
    const value = values[i]!;
    if (value - value !== 0) {
      throw new RoutingError({
        code: 'routing/not-finite',
        message: `expected finite ${name}, got ${value} at element ${i}`,
        value: String(value),
        remedy: `look for an overflow in what computes the ${name}`,
      });
    }
  }
}
