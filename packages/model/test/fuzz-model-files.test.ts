import { expect, test } from 'vitest';
import { fuzz } from './fuzz-model-files.js';

test('2,000 mutated files of a model end in a MoestackError or are valid', async () => {
  const { runs, rejected } = await fuzz(2024, 2000);
  expect(runs).toBe(2000);
  expect(rejected).toBeGreaterThan(800);
  expect(rejected).toBeLessThan(2000);
});

test('a seed fixes the outcome', async () => {
  expect(await fuzz(7, 200)).toEqual(await fuzz(7, 200));
});
