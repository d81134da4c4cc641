import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StopMatcher } from './stop-matcher.js';

function feed(stop: readonly string[], pieces: readonly string[]) {
  const matcher = new StopMatcher(stop);
  let text = '';
  for (const piece of pieces) {
    const result = matcher.push(piece);
    text += result.text;
    if (result.stop !== undefined) return { text, stop: result.stop };
  }
  return { text: text + matcher.end(), stop: undefined };
}

/** The stop string that ends first; of several that end together the longest. */
function reference(stop: readonly string[], whole: string) {
  for (let end = 1; end <= whole.length; end++) {
    const found = stop.filter((candidate) => whole.slice(0, end).endsWith(candidate));
    found.sort((a, b) => b.length - a.length);
    if (found[0] !== undefined) return { text: whole.slice(0, end - found[0].length), stop: found[0] };
  }
  return { text: whole, stop: undefined };
}

describe('StopMatcher', () => {
  it('finds a stop string that spans pieces', () => {
    expect(feed(['\n\n'], ['one\n', '\ntwo'])).toEqual({ text: 'one', stop: '\n\n' });
  });

  it('holds back no more than may become a stop string', () => {
    const matcher = new StopMatcher(['STOP']);
    expect(matcher.push('xxSS').text).toBe('xxS');
    expect(matcher.push('T').text).toBe('');
    expect(matcher.push('x').text).toBe('STx');
  });

  it('finds what a search of the whole text finds, however it is cut', () => {
    const letters = (min: number, max: number) =>
      fc.string({ unit: fc.constantFrom('a', 'b', 'é'), minLength: min, maxLength: max });
    fc.assert(
      fc.property(
        fc.array(letters(1, 5), { maxLength: 3 }),
        fc.array(letters(0, 6), { maxLength: 12 }),
        (stop, pieces) => {
          expect(feed(stop, pieces)).toEqual(reference(stop, pieces.join('')));
        },
      ),
      { seed: 7, numRuns: 2000 },
    );
  });
});
