import { DelayedScaling, Fp8Error } from '@moestack/fp8';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { quantCases } from './golden-arrays.js';

const cases = quantCases
  .filter(({ op }) => op === 'delayed_scaling')
  .map((golden) => ({
    algorithm: golden['algo'] === 'max' ? ('max' as const) : ('mostRecent' as const),
    historyLength: golden['historyLen'] as number,
    margin: golden['margin'] as number,
    steps: golden['steps'] as { amax: number | 'inf' | null; scale: number }[],
  }));

test.each(cases)('delayed scaling by $algorithm follows the trace', ({ steps, ...options }) => {
  const scaling = new DelayedScaling({ ...options, format: 'e4m3fn' });
  for (const { amax, scale } of steps) {
    scaling.record(amax === 'inf' ? Infinity : (amax ?? Number.NaN));
    expect(scaling.update()).toBe(scale);
    expect(scaling.history[0]).toBe(0);
  }
});

test('margin leaves binades free, and the largest of several tensors of a step counts', () => {
  const scaling = new DelayedScaling({ format: 'e5m2', margin: 3 });
  for (const amax of [2, 7, 0.5]) scaling.record(amax);
  expect(scaling.update()).toBe(1024);
  expect(scaling.scale).toBe(1024);
});

test('any history gives a positive finite scale that keeps the recorded amax in range', () => {
  const amax = fc.oneof(
    fc.float({ min: 0, noNaN: true }),
    fc.constantFrom(0, Infinity, Number.NaN, 1e-45, Math.fround(3e38)),
  );
  fc.assert(
    fc.property(
      fc.array(amax, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 1, max: 5 }),
      (list, historyLength) => {
        const scaling = new DelayedScaling({ historyLength });
        for (const value of list) {
          scaling.record(value);
          const window = scaling.history;
          const scale = scaling.update();
          expect(scale > 0 && scale < Infinity).toBe(true);
          // Within a unit in the last place of 448, unless an infinity in the history froze the scale.
          if (value > 0 && value < Infinity && !window.includes(Infinity) && scale < 3e38) {
            expect(value * scale).toBeLessThanOrEqual(448 * (1 + 2 ** -23));
          }
        }
      },
    ),
    { seed: 20_240_505, numRuns: 500 },
  );
});

test.each([
  ['no history', { historyLength: 0 }],
  ['part of a step', { historyLength: 1.5 }],
  ['an unknown algorithm', { algorithm: 'most_recent' as 'max' }],
  ['an endless margin', { margin: Infinity }],
  ['an unknown format', { format: 'e9m9' as 'e5m2' }],
])('%s is an error', (_, options) => {
  expect(() => new DelayedScaling(options)).toThrow(Fp8Error);
});
