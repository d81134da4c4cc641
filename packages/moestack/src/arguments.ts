import { InvalidArgumentError } from 'commander';

/** A commander parser for whole numbers of a range. */
export function integer(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= minimum && value <= maximum) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${minimum} to ${maximum}.`);
  };
}

/** A commander parser for numbers that are not negative. */
export function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0 && value <= 86_400) return value;
  throw new InvalidArgumentError('Expected a number of seconds from 0 to 86400.');
}

/** A commander parser for finite numbers. */
export function number(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value)) return value;
  throw new InvalidArgumentError('Expected a number.');
}

/** A commander parser for one of some words. */
export function oneOf<T extends string>(choices: readonly T[]): (text: string) => T {
  return (text) => {
    const found = choices.find((choice) => choice === text);
    if (found !== undefined) return found;
    throw new InvalidArgumentError(`Expected one of ${choices.join(', ')}.`);
  };
}

/** A commander parser for values parted by commas. */
export function list<T>(parse: (text: string) => T): (text: string) => T[] {
  return (text) => text.split(',').map((part) => parse(part.trim()));
}

/** A commander parser for rows and columns: `128x128`. */
export function tile(text: string): [rows: number, cols: number] {
  const match = /^(\d{1,9})x(\d{1,9})$/.exec(text);
  if (match !== null && Number(match[1]) > 0 && Number(match[2]) > 0)
    return [Number(match[1]), Number(match[2])];
  throw new InvalidArgumentError('Expected rows and columns as 128x128.');
}

/** A commander parser for parts of a whole. */
export function fraction(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value > 0 && value <= 1) return value;
  throw new InvalidArgumentError('Expected a number above 0, at most 1.');
}

/** A commander parser for numbers above 0. */
export function positive(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('Expected a number above 0.');
}
