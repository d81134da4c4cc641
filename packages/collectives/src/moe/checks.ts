import { CollectivesError } from '../errors.js';

/** Error of a dispatcher option. */
export function invalidConfig(name: string, value: unknown, expected: string): CollectivesError {
  return new CollectivesError({
    code: 'collectives/bad-config',
    message: `expected ${expected} for ${name}, got ${String(value)}`,
    value,
    remedy: `pass ${expected}`,
  });
}

/** Error of an array or count passed to a call. */
export function invalidInput(name: string, expected: string, value: unknown): CollectivesError {
  return new CollectivesError({
    code: 'collectives/bad-shape',
    message: `expected ${expected} for ${name}, got ${String(value)}`,
    value,
    remedy: `pass ${expected}`,
  });
}

/** `value` when it is an integer in [least, most]. */
export function needInteger(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw invalidConfig(name, value, `an integer from ${least} to ${most}`);
  }
  return value;
}

/** Checks that an array can hold `length` elements. */
export function needElements(name: string, array: { readonly length: number }, length: number): void {
  if (array.length < length) throw invalidInput(name, `at least ${length} elements`, array.length);
}

/** Rounds up to a multiple of `unit`. */
export function alignUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
