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

/** Refuses arrays whose length is not exactly what their shape says. */
export function requireExactLength(name: string, actual: number, needed: number, shape: string): void {
  if (actual !== needed) {
    throw new RoutingError({
      code: 'routing/bad-shape',
      message: `expected ${needed} elements (${shape}) in ${name}, got ${actual}`,
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

/** Refuses option values that are no integers in `minimum .. maximum`; returns the value. */
export function requireInteger(name: string, value: number, minimum: number, maximum: number): number {
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    throw badConfig(
      `expected an integer from ${minimum} to ${maximum} for ${name}, got ${value}`,
      value,
      `pass ${name} as an integer in that range`,
    );
  }
  return value;
}

/** Refuses option values that are not finite or below `minimum`; returns the value. */
export function requireNumber(
  name: string,
  value: number,
  minimum: number = Number.NEGATIVE_INFINITY,
): number {
  if (!Number.isFinite(value) || value < minimum) {
    const range = minimum === Number.NEGATIVE_INFINITY ? '' : ` >= ${minimum}`;
    throw badConfig(
      `expected a finite number${range} for ${name}, got ${value}`,
      value,
      `pass a finite ${name}`,
    );
  }
  return value;
}

/** Refuses option values outside a fixed list. */
export function requireOneOf(name: string, value: string, allowed: readonly string[]): void {
  if (!allowed.includes(value)) {
    throw badConfig(
      `expected one of ${allowed.join(', ')} for ${name}, got ${value}`,
      value,
      `pass ${allowed.join(' or ')}`,
    );
  }
}

/** An error about a configuration value. */
export function badConfig(message: string, value: unknown, remedy: string): RoutingError {
  return new RoutingError({ code: 'routing/bad-config', message, value, remedy });
}

/** Refuses NaN and infinities in the first `length` elements: no order could be given to them. */
export function requireFinite(name: string, values: Float32Array | Float64Array, length: number): void {
  for (let i = 0; i < length; i++) {
    const value = values[i]!;
    if (value - value !== 0) throw notFinite(name, value, i);
  }
}

/** An error about element `i` of an array that must be finite. */
export function notFinite(name: string, value: number, i: number): RoutingError {
  return new RoutingError({
    code: 'routing/not-finite',
    message: `expected finite ${name}, got ${value} at element ${i}`,
    value: String(value),
    remedy: `look for an overflow in what computes the ${name}`,
  });
}

/** Refuses ids below -1 (none) or not below `limit` in the first `length` elements. */
export function requireIds(name: string, ids: Int32Array, length: number, limit: number): void {
  for (let i = 0; i < length; i++) {
    const id = ids[i]!;
    if (id < -1 || id >= limit) {
      throw new RoutingError({
        code: 'routing/bad-index',
        message: `expected ids from -1 (none) to ${limit - 1} in ${name}, got ${id} at element ${i}`,
        value: id,
        remedy: `check how many experts the ${name} were made for`,
      });
    }
  }
}
