import { expect, test } from 'vitest';
import { fuzz } from './fuzz-agreement.js';

test('10,000 mutated proposals end in an agreement or a typed error', () => {
  const { runs, rejected } = fuzz(1, 10_000);
  expect(runs).toBe(10_000);
  expect(rejected).toBeGreaterThan(5_000);
  expect(rejected).toBeLessThan(10_000);
});
