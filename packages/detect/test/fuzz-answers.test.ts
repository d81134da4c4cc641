import { expect, test } from 'vitest';
import { fuzz } from './fuzz-answers.js';

test('10,000 mutated answers end in a MoestackError or are usable', async () => {
  const { runs, rejected } = await fuzz(2024, 10_000);
  expect(runs).toBe(10_000);
  // Most mutations break the shape; if few did, the mutator would be too tame to mean anything.
  expect(rejected).toBeGreaterThan(5_000);
  expect(rejected).toBeLessThan(10_000);
});

test('a seed fixes the outcome', async () => {
  expect(await fuzz(7, 500)).toEqual(await fuzz(7, 500));
});
