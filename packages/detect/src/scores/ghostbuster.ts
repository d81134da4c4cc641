import { DetectError } from '../errors.js';
import { mean, standardDeviation } from './aggregates.js';
import { needLength, tooShort } from './checks.js';

/** Probabilities (not logarithms) of a text's tokens under several models, by name; all of one length. */
export type ProbabilityVectors = Readonly<Record<string, ArrayLike<number>>>;

type Vector = Float64Array;

const vectorFunctions: Readonly<Record<string, (a: number, b: number) => number>> = {
  'v-add': (a, b) => a + b,
  'v-sub': (a, b) => a - b,
  'v-mul': (a, b) => a * b,
  'v-div': (a, b) => (b === 0 ? 0 : a / b),
  'v->': (a, b) => (a > b ? 1 : 0),
  'v-<': (a, b) => (a < b ? 1 : 0),
};

const scalarFunctions: Readonly<Record<string, (vector: Vector) => number>> = {
  's-max': (vector) => vector.reduce((a, b) => Math.max(a, b), -Infinity),
  's-min': (vector) => vector.reduce((a, b) => Math.min(a, b), Infinity),
  's-avg': mean,
  's-avg-top-25': (vector) => mean(vector.slice().sort().reverse().subarray(0, 25)),
  's-len': (vector) => vector.length,
  's-var': (vector) => standardDeviation(vector, 0) ** 2,
  's-l2': (vector) => Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0)),
};

/** The nine expressions that Ghostbuster's search chose (Verma et al. 2023, arXiv 2305.15047). */
export const GHOSTBUSTER_EXPRESSIONS: readonly string[] = [
  'unigram-logprobs v-add trigram-logprobs v-< davinci-logprobs s-avg',
  'unigram-logprobs v-> ada-logprobs v-sub davinci-logprobs s-var',
  'unigram-logprobs v-sub ada-logprobs v-add davinci-logprobs s-avg-top-25',
  'ada-logprobs v-> davinci-logprobs v-div ada-logprobs s-avg',
  'trigram-logprobs v-div ada-logprobs v-< davinci-logprobs s-avg',
  'unigram-logprobs v-mul davinci-logprobs s-max',
  'unigram-logprobs v-sub ada-logprobs v-mul davinci-logprobs s-avg',
  'unigram-logprobs v-mul trigram-logprobs v-sub ada-logprobs s-var',
  'trigram-logprobs v-sub davinci-logprobs v-div unigram-logprobs s-max',
];

/**
 * Value of a Ghostbuster feature: a vector name, then `v-...` functions with a vector each, then one `s-...` function, evaluated
 * from left to right. Division by 0 gives 0, comparisons give 0 or 1.
 */
export function ghostbusterFeature(expression: string, vectors: ProbabilityVectors): number {
  const words = expression.split(' ');
  const reduce = scalarFunctions[words[words.length - 1]!];
  if (reduce === undefined || words.length % 2 !== 0) throw badExpression(expression);
  const current = Float64Array.from(vectorOf(words[0]!, vectors));
  if (current.length === 0) throw tooShort('Ghostbuster', 1, 0);
  for (let w = 1; w < words.length - 1; w += 2) {
    const combine = Object.hasOwn(vectorFunctions, words[w]!) ? vectorFunctions[words[w]!] : undefined;
    if (combine === undefined) throw badExpression(expression);
    const next = vectorOf(words[w + 1]!, vectors);
    needLength(words[w + 1]!, next, current.length);
    for (let i = 0; i < current.length; i++) current[i] = combine(current[i]!, next[i]!);
  }
  return reduce(current);
}

/**
 * Ghostbuster's seven hand-made features: number of values above 3 in `strong` and the means of the first and second 25 of
 * them, means of the 25 largest and the rest of strong - weak, means of the 25 longest and the other word lengths in tokens. As
 * published: the vectors hold probabilities, so that the first three are always 0.
 *
 * @param tokens - byte-pair tokens, a word starting with `\u0120`
 */
export function ghostbusterHandFeatures(
  strong: ArrayLike<number>,
  weak: ArrayLike<number>,
  tokens: readonly string[],
): number[] {
  needLength('weak', weak, strong.length);
  const outliers = Array.from(strong).filter((value) => value > 3);
  const differences = Array.from(strong, (value, i) => value - weak[i]!).sort((a, b) => b - a);
  const lengths: number[] = [];
  let current = 0;
  for (const token of tokens) {
    if (token.startsWith('\u0120')) {
      lengths.push(current);
      current = 1;
    } else current++;
  }
  lengths.sort((a, b) => b - a);
  return [
    outliers.length,
    ...halves(outliers, 50),
    ...halves(differences, Infinity),
    ...halves(lengths, Infinity),
  ];
}

/** Mean of the first 25 and of the values after them, filled up with zeros to 50. */
function halves(values: readonly number[], limit: number): [number, number] {
  const padded = [...values, ...new Array<number>(Math.max(50 - values.length, 0)).fill(0)];
  return [mean(padded.slice(0, 25)), mean(padded.slice(25, limit))];
}

function vectorOf(name: string, vectors: ProbabilityVectors): ArrayLike<number> {
  if (Object.hasOwn(vectors, name)) return vectors[name]!;
  throw new DetectError({
    code: 'detect/bad-config',
    message: `expected one of ${Object.keys(vectors).join(', ')} for a vector name, got ${name}`,
    value: name,
    remedy: 'pass probabilities for every model that the expression names',
  });
}

function badExpression(expression: string): DetectError {
  return new DetectError({
    code: 'detect/bad-config',
    message: `expected "vector (v-function vector)* s-function", got ${JSON.stringify(expression)}`,
    value: expression,
    remedy: `v-functions: ${Object.keys(vectorFunctions).join(' ')}; s-functions: ${Object.keys(scalarFunctions).join(' ')}`,
  });
}
