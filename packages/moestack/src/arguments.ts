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
