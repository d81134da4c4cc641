import { DetectError } from '../errors.js';

/** The most entries of a vocabulary: far beyond any tokenizer, and a row of it fits any arena. */
const MAXIMUM_VOCABULARY = 1 << 26;

/** Throws unless `value` is an integer from `least` to `most`. */
export function needInteger(name: string, value: number, least: number, most: number = 2 ** 31 - 1): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new DetectError({
    code: 'detect/bad-config',
    message: `expected an integer from ${least} to ${most} for ${name}, got ${value}`,
    value,
    remedy: `pass ${name} within this range`,
  });
}

/** Throws unless `value` is a number with least < value < most. */
export function needBetween(name: string, value: number, least: number, most: number): void {
  if (value > least && value < most) return;
  throw new DetectError({
    code: 'detect/bad-config',
    message: `expected a number between ${least} and ${most} for ${name}, got ${value}`,
    value,
    remedy: `pass ${name} within this range`,
  });
}

/** Throws unless `array` has `length` elements. */
export function needLength(name: string, array: { readonly length: number }, length: number): void {
  if (array.length === length) return;
  throw new DetectError({
    code: 'detect/bad-shape',
    message: `expected ${length} elements in ${name}, got ${array.length}`,
    value: array.length,
    remedy: `pass ${name} in the shape that the other operands give`,
  });
}

/** Throws unless `vocabulary` can be the length of a row. */
export function needVocabulary(vocabulary: number): void {
  needInteger('vocab', vocabulary, 1, MAXIMUM_VOCABULARY);
}

/** Throws unless `token` is an id below `vocabulary`. */
export function needToken(token: number, vocabulary: number, position: number): void {
  if (Number.isInteger(token) && token >= 0 && token < vocabulary) return;
  throw new DetectError({
    code: 'detect/bad-shape',
    message: `expected a token id below ${vocabulary} at position ${position}, got ${token}`,
    value: token,
    remedy: 'score a text with the tokenizer of the model whose logits these are',
  });
}

/** The error for a text that is too short for a score: callers should abstain. */
export function tooShort(what: string, needed: number, got: number): DetectError {
  return new DetectError({
    code: 'detect/too-short',
    message: `expected at least ${needed} scored ${needed === 1 ? 'token' : 'tokens'} for ${what}, got ${got}`,
    value: got,
    remedy: 'abstain, or pass a longer text; the first token is never scored, since nothing predicts it',
  });
}
