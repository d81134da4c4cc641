import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DetectError } from '../errors.js';
import { LinearPattern } from './linear-pattern.js';

const find = (source: string, text: string, ignoreCase = false): string[] =>
  new LinearPattern(source, { ignoreCase }).matches(text).map(({ start, end }) => text.slice(start, end));

describe('LinearPattern', () => {
  it('finds what patterns say, leftmost and longest', () => {
    expect(find('ab|abc', 'xabcab')).toEqual(['abc', 'ab']);
    expect(find('\\bcat\\b', 'cat concat cat.')).toEqual(['cat', 'cat']);
    expect(find('[a-c]{2,3}', 'abcabd')).toEqual(['abc', 'ab']);
    expect(find('^a.c$', 'abc')).toEqual(['abc']);
    expect(find('project\\s+(?:falcon|eagle)', 'Project  Falcon', true)).toEqual(['Project  Falcon']);
    expect(find('[^\\s@]+@x\\.org', 'a@x.org, b@x.org')).toEqual(['a@x.org', 'b@x.org']);
    expect(find('\\u0041\\x42?', 'A AB')).toEqual(['A', 'AB']);
    expect(find('a*', 'baab')).toEqual(['aa']);
  });

  it('agrees with the engine where leftmost and longest is what both find', () => {
    const atom = fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', '\\w', '(ab)', '(a|b)', '\\b');
    const piece = fc
      .tuple(atom, fc.constantFrom('', '*', '+', '?', '{2}', '{1,2}'))
      .map(([x, q]) => (x === '\\b' ? x : x + q));
    fc.assert(
      fc.property(
        fc.array(piece, { minLength: 1, maxLength: 4 }),
        fc.string({ unit: fc.constantFrom('a', 'b', ' ', 'c'), maxLength: 14 }),
        (pieces, text) => {
          const source = pieces.join('');
          const [first] = new LinearPattern(source).matches(text);
          // The longest match at the leftmost place that has one, by trying all.
          let expected: { start: number; end: number } | undefined;
          for (let start = 0; start < text.length && expected === undefined; start++)
            for (let end = text.length; end > start && expected === undefined; end--) {
              const whole = new RegExp(
                `(?<=^[\\s\\S]{${start}})(?:${source})(?=[\\s\\S]{${text.length - end}}$)`,
              );
              const match = whole.exec(text);
              if (match !== null && match.index === start && match[0].length === end - start)
                expected = { start, end };
            }
          expect(first).toEqual(expected);
        },
      ),
      { seed: 21, numRuns: 400 },
    );
  });

  it('takes linear time for patterns that ruin backtracking', () => {
    const text = 'a'.repeat(100_000);
    for (const source of ['(a+)+b', '(a|a)*b', '(a*)*c', 'a*a*a*a*b', '(.*)(.*)(.*)x'])
      expect(find(source, text)).toEqual([]);
  });

  it('refuses what is wrong, too large, or cannot be linear', () => {
    for (const source of [
      '',
      '(',
      ')',
      '[a',
      'a**b)',
      '*',
      '\\1',
      '(?=a)',
      '(?<n>a)',
      '\\',
      '[b-a]',
      '((a{1000}){1000})',
      'a{3,2}',
      '\\p',
      'x'.repeat(501),
      '('.repeat(60),
    ])
      expect(() => new LinearPattern(source), source).toThrow(DetectError);
  });

  it('fails only with its own error for any string', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...'ab()[]{}*+?|\\^$.-,129wd:='), maxLength: 20 }),
        (source) => {
          try {
            new LinearPattern(source).matches('ab (a) 12 wd');
          } catch (error) {
            expect(DetectError.isInstance(error)).toBe(true);
          }
        },
      ),
      { seed: 22, numRuns: 2_000 },
    );
  });
});
