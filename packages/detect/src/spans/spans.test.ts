import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sharedTexts } from '../../test/shared-texts.js';
import { detectSpans, segmentEvidence } from './index.js';
import { textUnits } from './text-units.js';

describe('segmentEvidence', () => {
  /** Objective of an assignment of sides. */
  const total = (evidence: readonly number[], sides: readonly boolean[], penalty: number): number =>
    evidence.reduce((sum, value, i) => {
      const change = i > 0 && sides[i] !== sides[i - 1] ? penalty : 0;
      return sum + (sides[i] ? value : -value) / 2 - change;
    }, 0);

  it('finds the maximum over all assignments, in runs that cover everything', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -5, max: 5, noNaN: true }), { minLength: 1, maxLength: 10 }),
        fc.double({ min: 0, max: 6, noNaN: true }),
        (evidence, penalty) => {
          const segments = segmentEvidence(evidence, penalty);
          expect(segments[0]!.start).toBe(0);
          expect(segments[segments.length - 1]!.end).toBe(evidence.length);
          const sides = segments.flatMap(({ start, end, isAi }) => Array<boolean>(end - start).fill(isAi));
          segments.slice(1).forEach((segment, i) => {
            expect(segment.start).toBe(segments[i]!.end);
            expect(segment.isAi).not.toBe(segments[i]!.isAi);
          });
          let best = -Infinity;
          for (let code = 0; code < 2 ** evidence.length; code++)
            best = Math.max(
              best,
              total(
                evidence,
                evidence.map((_, i) => ((code >> i) & 1) === 1),
                penalty,
              ),
            );
          expect(total(evidence, sides, penalty)).toBeCloseTo(best, 9);
        },
      ),
      { seed: 5, numRuns: 150 },
    );
  });

  it('refuses what is no number', () => {
    expect(() => segmentEvidence([0, Number.NaN], 1)).toThrow(/index 1/);
    expect(() => segmentEvidence([0], -1)).toThrow(/penalty/);
    expect(segmentEvidence([], 1)).toEqual([]);
  });
});

describe('textUnits', () => {
  it('covers a text in order, but for white space', () => {
    const piece = fc.constantFrom('word', 'end. ', '\n', ' ', '\u00a0', 'a! ', '\ud83d\ude00', 'x y ');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 200 }), fc.integer({ min: 1, max: 30 }), (pieces, words) => {
        const text = pieces.join('');
        let at = 0;
        for (const { start, end } of textUnits(text, words)) {
          expect(text.slice(at, start).trim()).toBe('');
          expect(start).toBeLessThan(end);
          expect(/^\s|\s$/.test(text.slice(start, end))).toBe(false);
          at = end;
        }
        expect(text.slice(at).trim()).toBe('');
      }),
      { seed: 6, numRuns: 200 },
    );
  });
});

const folder = sharedTexts();

describe('detectSpans', () => {
  it('sets code apart and keeps offsets of the text', () => {
    const prose =
      'We walked along the shore and talked about the winter, which had been long. She said that she would not stay another one. ';
    const code =
      '\n\nconst total = items.map((item) => item.price * item.count);\nreturn sum(total);\n'.repeat(6);
    const text = prose.repeat(4) + code + prose.repeat(4);
    const { spans } = detectSpans(text);
    const other = spans.filter(({ side }) => side === 'other');
    expect(other).toHaveLength(1);
    expect(text.slice(other[0]!.start, other[0]!.end)).toContain('items.map');
    expect(other[0]!.verdict.label).toBe('abstain');
    expect(spans[0]!.start).toBe(0);
  });

  it.each([
    ['one word', 'a'.repeat(10_000_000)],
    ['short lines', 'a b.\n'.repeat(2_000_000)],
    ['lone surrogates', '\ud800 '.repeat(1_000_000)],
  ])('takes megabytes of %s', (_, text) => {
    const { spans } = detectSpans(text);
    expect(spans.length).toBeGreaterThan(0);
    for (const { verdict } of spans) expect(Number.isFinite(verdict.score)).toBe(true);
  });

  // The texts have no licence to be in the repository.
  it.skipIf(folder === undefined)('finds where evaluation-only human texts turn into AI ones', () => {
    const rows = readFileSync(join(folder ?? '', 'prose.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { pair: string; domain: string; label: string; text: string })
      .filter(({ domain }) => domain === 'reddit');
    const humans = rows.filter(({ label }) => label === 'human').slice(0, 20);
    const ais = rows.filter(({ label }) => label === 'ai').slice(20, 40);
    let right = 0;
    let all = 0;
    humans.forEach(({ text: human }, i) => {
      const text = `${human.trim()}\n\n${ais[i]!.text.trim()}`;
      const border = human.trim().length;
      for (const { start, end, side } of detectSpans(text).spans) {
        const before = Math.max(0, Math.min(end, border) - start);
        right += side === 'human' ? before : side === 'ai' ? end - start - before : 0;
        all += end - start;
      }
    });
    // Share of characters on the right side: 0.7996 with these weights, and 1/2 is chance. Deterministic, so any loss shows.
    expect(right / all).toBeGreaterThan(0.799);
    // Texts by one hand, for comparison: 7 of these 40 are cut in two.
    const mixed = [...humans, ...ais].filter(({ text }) => detectSpans(text).isMixed).length;
    expect(mixed).toBeLessThanOrEqual(7);
  });
});
