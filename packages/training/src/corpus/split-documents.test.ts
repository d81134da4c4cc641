import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EXCLUSION_WORDS, PassageExclusion } from './exclude-passages.js';
import { findNearDuplicates } from './near-duplicates.js';
import { splitDocuments } from './split-documents.js';
import { mix, splitWords } from './word-stream.js';

const words = (count: number, seed: number): string[] =>
  Array.from(
    { length: count },
    (_, i) => `w${(Math.imul(i + 1, 2_654_435_761) ^ Math.imul(seed, 97_531)) >>> 12}`,
  );
const document = (text: string) => ({ id: 'd', title: 't', source: 's', license: 'l', text });
const sizes = { windowWords: 64, strideWords: 32, shingleWords: 5, threshold: 0.5 };
const config = { heldOutFraction: 0.02, nearDuplicates: sizes };
const runs = (text: string, size: number): Set<string> => {
  const list = text.toLowerCase().match(/[a-z0-9']+/g) ?? [];
  return new Set(list.slice(size - 1).map((_, i) => list.slice(i, i + size).join(' ')));
};

describe('findNearDuplicates', () => {
  it('finds a copied passage wherever it stands, with a few words changed', () => {
    fc.assert(
      fc.property(fc.nat(200), fc.nat(200), fc.nat(1000), (before, after, seed) => {
        const passage = words(160, seed);
        const changed = passage.map((word, i) => (i % 50 === 49 ? 'other' : word));
        const a = splitWords([...words(before, seed + 1), ...passage].join(' '));
        const b = splitWords([...words(after, seed + 2), ...changed, ...words(40, seed + 3)].join('\n'));
        expect(findNearDuplicates([a, b]).length).toBeGreaterThan(0);
      }),
      { numRuns: 40, seed: 4 },
    );
  });

  it('finds nothing between texts that share single words only, nor within one text', () => {
    const vocabulary = words(50, 9);
    const mixed = (seed: number) =>
      Array.from({ length: 600 }, (_, i) => vocabulary[mix(i + seed) % 50]).join(' ');
    expect(findNearDuplicates([splitWords(mixed(1)), splitWords(mixed(1_000_003))])).toEqual([]);
    const refrain = words(80, 1).join(' ');
    expect(findNearDuplicates([splitWords(`${refrain}\n${refrain}`)])).toEqual([]);
  });
});

describe('splitDocuments', () => {
  it('holds out the end of every document, and divides all of it where nothing is removed', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 400 }), { maxLength: 5 }),
        (texts) => {
          const all = texts.map(document);
          const { documents } = splitDocuments(
            all,
            { ...config, heldOutFraction: 0.1 },
            new PassageExclusion([]),
          );
          documents.forEach(({ train, heldOut }, i) => {
            const { text } = all[i]!;
            expect(heldOut.end).toBe(text.length);
            expect(heldOut.start).toBeLessThanOrEqual(Math.ceil(text.length * 0.9));
            for (const part of [text.slice(0, heldOut.start), text.slice(heldOut.start)])
              expect(part).not.toMatch(/^[\uDC00-\uDFFF]/);
            if (train.length === 1) expect(train[0]).toEqual({ start: 0, end: heldOut.start });
          });
        },
      ),
      { numRuns: 200, seed: 8 },
    );
  });

  it('removes from training what stands in the held-out end of another document', () => {
    const shared = words(90, 7);
    const first = document([...words(2000, 1), ...shared, ...words(2000, 2)].join(' '));
    const second = document([...words(4000, 3), ...shared].join(' '));
    const { documents, ofHeldOut } = splitDocuments([first, second], config, new PassageExclusion([]));
    expect(ofHeldOut).toBeGreaterThan(0);
    const left = documents[0]!.train.map(({ start, end }) => first.text.slice(start, end)).join(' # ');
    const survivors = [...runs(shared.join(' '), 5)].filter((run) => runs(left, 5).has(run));
    // Windows are removed, not words: some at the ends of the passage stay.
    expect(survivors.length).toBeLessThan(32);
    expect(documents[0]!.duplicateCharacters).toBeGreaterThan(400);
  });

  it('keeps the first of two documents that share a passage', () => {
    const shared = words(200, 7);
    const first = document([...words(3000, 1), ...shared, ...words(3000, 2)].join(' '));
    const second = document([...words(3000, 3), ...shared, ...words(3000, 4)].join(' '));
    const { documents } = splitDocuments([first, second], config, new PassageExclusion([]));
    expect(documents[0]!.duplicateCharacters).toBe(0);
    expect(documents[1]!.duplicateCharacters).toBeGreaterThan(1000);
    expect(documents[1]!.train).toHaveLength(2);
  });

  it('leaves no run of 13 words of an excluded passage in training, whatever its white space and case', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 120 }), fc.nat(900), fc.nat(99), (length, at, seed) => {
        const passage = words(length, seed);
        const text = [
          ...words(at, seed + 1),
          passage.join('\n').toUpperCase(),
          ...words(2000, seed + 2),
        ].join(' ');
        const exclusion = new PassageExclusion([passage.join(' '), 'something that is nowhere']);
        const { documents } = splitDocuments([document(text)], config, exclusion);
        const left = documents[0]!.train.map(({ start, end }) => text.slice(start, end));
        const size = Math.min(EXCLUSION_WORDS, length);
        const forbidden = runs(passage.join(' '), size);
        expect(left.flatMap((part) => [...runs(part, size)]).filter((run) => forbidden.has(run))).toEqual([]);
        expect(exclusion.found).toBe(1);
      }),
      { numRuns: 30, seed: 6 },
    );
  });
});
