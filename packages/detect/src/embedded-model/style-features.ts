import { compressionFeatures } from './compression-features.js';
import { functionWords } from './function-words.js';
import { isWord, proseTokens } from './plain-prose.js';

const PUNCTUATION = [',', '.', ';', ':', '!', '?', '"', "'", '-', '(', '...', '/', '%'] as const;

const SUFFIXES = [
  ...['ing', 'ed', 'ly', 'tion', 'ity', 'ment', 'ness', 'ous', 'ive', 'al', 'able', 'ful', 'er', 'est', 's'],
  ...["n't", "'s", "'re", "'ll", "'ve", "'m", "'d", 'ence', 'ance', 'ism', 'ist', 'ize', 'ise', 'y'],
] as const;

const WORD_GROUPS: readonly (readonly string[])[] = [
  ['i', 'me', 'my', 'mine'],
  ['you', 'your'],
  ['he', 'she', 'his', 'her', 'him'],
  ['they', 'their', 'them'],
  ['we', 'our', 'us'],
  ['was', 'were', 'had'],
  ['is', 'are', 'has'],
  ['will', 'would', 'could', 'should', 'can', 'may', 'might'],
  ['and'],
  ['but'],
  ['the'],
  ['of'],
  ['to'],
  ['that'],
  ['which'],
  ['however', 'while', 'although', 'despite'],
  ['as'],
  ['with'],
  ['not'],
  ['it'],
];

const groupsOf: ReadonlyMap<string, number> = new Map(
  WORD_GROUPS.flatMap((group, index) => group.map((word) => [word, index] as const)),
);

/** Names of the numbers of {@link styleFeatures}, in their order. */
export const styleFeatureNames: readonly string[] = [
  ...[
    'word length',
    'word length deviation',
    'words of 7 letters',
    'words of 10 letters',
    'words of 3 letters',
  ],
  ...['sentence length', 'sentence length variation', 'longest sentence', 'shortest sentence'],
  ...['vocabulary', 'words used once', 'repetition', 'function words'],
  ...PUNCTUATION.map((mark) => `mark ${mark}`),
  ...['digits', 'capitals', 'names'],
  ...SUFFIXES.map((suffix) => `ends in ${suffix}`),
  ...WORD_GROUPS.map((group) => `words ${group.join(' ')}`),
  ...['comma and', 'comma participle', 'noun of'],
  ...[
    'phrases',
    'literals',
    'phrase rate',
    'letter entropy',
    'second letter entropy',
    'third letter entropy',
  ],
  ...['word entropy', 'word pair entropy'],
];

/**
 * Numbers that describe the style of a piece of English prose, whatever its subject.
 *
 * @param plain - from `plainProse`.
 * @returns finite numbers, named by {@link styleFeatureNames}.
 */
export function styleFeatures(plain: string): Float64Array {
  const tokens = proseTokens(plain);
  const words = tokens.filter(isWord);
  const n = words.length || 1;
  const features: number[] = [];

  const lengths = words.map((word) => word.length);
  const share = (matches: (length: number) => boolean): number => lengths.filter(matches).length / n;
  features.push(
    mean(lengths),
    deviation(lengths),
    share((length) => length >= 7),
    share((length) => length >= 10),
    share((length) => length <= 3),
  );

  const sentences = sentenceLengths(plain);
  features.push(
    Math.log(mean(sentences) + 1),
    deviation(sentences) / (mean(sentences) + 1),
    Math.log(Math.max(...sentences, 1)),
    Math.log(Math.min(...sentences, 50) + 1),
  );

  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  let once = 0;
  let repeated = 0;
  for (const count of counts.values()) {
    if (count === 1) once++;
    repeated += count * (count - 1);
  }
  features.push(
    counts.size / n ** 0.8,
    once / n,
    words.length < 2 ? 0 : (100 * repeated) / (n * (n - 1)),
    words.filter((word) => functionWords.has(word)).length / n,
  );

  for (const mark of PUNCTUATION) features.push((10 * occurrences(plain, mark)) / n);
  features.push(
    matches(plain, /\d/g) / n,
    (10 * matches(plain, /\b[A-Z]{2,}\b/g)) / n,
    (5 * namesIn(plain)) / n,
  );

  for (const suffix of SUFFIXES) {
    const ending = words.filter((word) => word.length > suffix.length + 1 && word.endsWith(suffix)).length;
    features.push((5 * ending) / n);
  }
  const groups = new Float64Array(WORD_GROUPS.length);
  for (const [word, count] of counts) {
    const group = groupsOf.get(word);
    if (group !== undefined) groups[group]! += count;
  }
  for (const count of groups) features.push((10 * count) / n);
  features.push(
    (20 * matches(plain, /, and /g)) / n,
    (20 * matches(plain, /, \w+ing\b/g)) / n,
    (20 * matches(plain, /\b(?:an?|the) \w+ \w+ of\b/g)) / n,
  );
  features.push(...compressionFeatures(plain.toLowerCase(), tokens));
  return Float64Array.from(features);
}

/** Words of each sentence, sentences without a word left out. */
function sentenceLengths(plain: string): number[] {
  const lengths: number[] = [];
  let words = 0;
  for (const chunk of plain.split(' ')) {
    if (/[A-Za-z]/.test(chunk)) words++;
    if (/[.!?]["')]*$/.test(chunk) && words > 0) {
      lengths.push(words);
      words = 0;
    }
  }
  if (words > 0) lengths.push(words);
  return lengths;
}

/** Capitalised words that do not begin a sentence. */
function namesIn(plain: string): number {
  let names = 0;
  let begins = true;
  for (const chunk of plain.split(' ')) {
    if (!begins && /^["'(]*[A-Z][a-z]/.test(chunk)) names++;
    begins = /[.!?]["')]*$/.test(chunk);
  }
  return names;
}

function matches(text: string, pattern: RegExp): number {
  return text.match(pattern)?.length ?? 0;
}

function occurrences(text: string, part: string): number {
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count++;
  return count;
}

function mean(values: readonly number[]): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / (values.length || 1);
}

function deviation(values: readonly number[]): number {
  const center = mean(values);
  let sum = 0;
  for (const value of values) sum += (value - center) ** 2;
  return Math.sqrt(sum / (values.length || 1));
}
