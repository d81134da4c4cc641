import { Tokenizer } from '@moestack/model';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BpeEncoder } from './bpe-encoder.js';
import { pairKey } from './pair-queue.js';
import { pretokenize } from './pretokenize.js';
import { END_OF_TEXT, tokenizerConfigJson, tokenizerJson } from './tokenizer-json.js';
import { byteTokens, SMALLEST_VOCABULARY, trainBpe } from './train-bpe.js';

const sample = `The sea was calm, and the boats lay still; the children counted 12 gulls, then 120.
"Are they asleep?" asked the youngest.  Nobody knew: the gulls kept their secret.

Über den Wellen stand ein Möwenschwarm — naïve, café, 海の上, 🐟🐟🐟.
aaaa aaaaaaa abababab the the the the\tthen`;

const texts = [sample, sample.toUpperCase(), 'the theme of the thesis is the thing that the others think'];
const anyText = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 80 }),
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc
    .array(fc.constantFrom(' ', '  ', '\n', '\t', 'the', "'s", 'a', 'é', '12', '—', ...sample), {
      maxLength: 60,
    })
    .map((parts) => parts.join('')),
);

/** Counts pairs anew before every merge: slow, and plainly right. */
function trainSlowly(all: readonly string[], size: number): (readonly [number, number, number])[] {
  const words = new Map<string, number>();
  for (const text of all)
    for (const piece of pretokenize(text)) words.set(piece, (words.get(piece) ?? 0) + 1);
  let split = [...words].map(([piece, count]) => ({
    tokens: [...new TextEncoder().encode(piece)].map((byte) => byte + 1),
    count,
  }));
  const names = byteTokens().map((bytes) => bytes.join());
  const merges: [number, number, number][] = [];
  while (names.length < size) {
    const counts = new Map<number, number>();
    for (const { tokens, count } of split)
      for (let i = 0; i + 1 < tokens.length; i++) {
        const key = pairKey(tokens[i]!, tokens[i + 1]!);
        counts.set(key, (counts.get(key) ?? 0) + count);
      }
    let best = -1;
    for (const [key, count] of counts)
      if (best === -1 || count > counts.get(best)! || (count === counts.get(best) && key < best)) best = key;
    if (best === -1) break;
    const [left, right] = [Math.floor(best / 65_536), best % 65_536];
    const name = `${names[left]},${names[right]}`;
    let merged = names.indexOf(name);
    if (merged === -1) merged = names.push(name) - 1;
    merges.push([left, right, merged]);
    split = split.map(({ tokens, count }) => {
      const out: number[] = [];
      for (let i = 0; i < tokens.length; i++) {
        if (tokens[i] === left && tokens[i + 1] === right) {
          out.push(merged);
          i++;
        } else out.push(tokens[i]!);
      }
      return { tokens: out, count };
    });
  }
  return merges;
}

describe('trainBpe', () => {
  it('merges what counting anew before every merge would', () => {
    expect(trainBpe(texts, { vocabularySize: 420 }).merges).toEqual(trainSlowly(texts, 420));
  });

  it('merges the same on any texts', () => {
    fc.assert(
      fc.property(fc.array(anyText, { maxLength: 6 }), (any) => {
        expect(trainBpe(any, { vocabularySize: 300 }).merges).toEqual(trainSlowly(any, 300));
      }),
      { numRuns: 60, seed: 11 },
    );
  });

  it('ends early where there is nothing left to merge', () => {
    const { merges, bytes } = trainBpe(['ab'], { vocabularySize: 1000 });
    expect(merges).toHaveLength(1);
    expect(bytes).toHaveLength(SMALLEST_VOCABULARY + 1);
  });

  it.each([256, 65_537, 300.5, Number.NaN])('refuses a vocabulary of %d', (vocabularySize) => {
    expect(() => trainBpe(texts, { vocabularySize })).toThrow(
      expect.objectContaining({ code: 'training/bad-tokenizer' }),
    );
  });
});

describe('the tokenizer that is written', () => {
  const vocabulary = trainBpe(texts, { vocabularySize: 420 });
  const encoder = new BpeEncoder(vocabulary);
  const json = JSON.parse(JSON.stringify(tokenizerJson(vocabulary)));
  const tokenizer = new Tokenizer(json, tokenizerConfigJson(512), undefined);

  it('encodes as the model package does, and back', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const ids = encoder.encode(text);
        expect([...tokenizer.encode(text)]).toEqual(ids);
        expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(text);
      }),
      { numRuns: 1000, seed: 5 },
    );
    expect([...tokenizer.encode(sample)]).toEqual(encoder.encode(sample));
  });

  it('ends texts with a special token', () => {
    expect(tokenizer.eosTokenId).toBe(0);
    expect(tokenizer.vocabularySize).toBe(vocabulary.bytes.length);
    expect([...tokenizer.encode(END_OF_TEXT)]).toEqual([0]);
    expect(encoder.encode(END_OF_TEXT)).not.toContain(0);
    expect(tokenizer.decode([0])).toBe('');
  });

  it('has every byte, so that every text can be encoded', () => {
    for (let byte = 0; byte < 256; byte++) expect([...tokenizer.tokenBytes(byte + 1)]).toEqual([byte]);
  });
});

describe('pretokenize', () => {
  it('loses nothing', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(pretokenize(text).join('')).toBe(text);
      }),
      { numRuns: 500, seed: 2 },
    );
  });

  it('leaves one space with the word behind it', () => {
    expect(pretokenize('a  b 12!\n\n c')).toEqual(['a', ' ', ' b', ' 12', '!', '\n\n', ' c']);
  });
});
