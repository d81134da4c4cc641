import { expect, it } from 'vitest';
import { ghostbusterFeature, ghostbusterHandFeatures } from './ghostbuster.js';

it('counts word lengths in tokens and the largest differences', () => {
  const tokens = ['The', '\u0120cat', 's', '\u0120sat'];
  const features = ghostbusterHandFeatures([0.5, 0.2, 0.9, 0.4], [0.1, 0.3, 0.4, 0.4], tokens);
  const expected = [0, 0, 0, (0.4 + 0.5 + 0 - 0.1) / 25, 0, (1 + 2) / 25, 0];
  features.forEach((value, i) => {
    expect(value).toBeCloseTo(expected[i]!, 12);
  });
});

it('names what is wrong with an expression', () => {
  const vectors = { a: [0.5], b: [0.5, 0.1] };
  for (const bad of ['a', 'a s-avg s-avg', 'a v-pow b s-avg', 'a v-add', '', 'a constructor b s-avg'])
    expect(() => ghostbusterFeature(bad, vectors)).toThrow(/expected/);
  expect(() => ghostbusterFeature('c s-avg', vectors)).toThrow('one of a, b');
  expect(() => ghostbusterFeature('toString s-avg', vectors)).toThrow('one of a, b');
  expect(() => ghostbusterFeature('a v-add b s-avg', vectors)).toThrow('1 elements in b');
});
