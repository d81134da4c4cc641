import { expect, test } from 'vitest';
import { fuzz } from './fuzz-guardrail.js';

test('2,000 hostile texts, patterns and bodies end in a MoestackError or are usable', () => {
  const { runs, rejected } = fuzz(77, 2_000);
  expect(runs).toBe(2_000);
  expect(rejected).toBeGreaterThan(200);
  expect(rejected).toBeLessThan(1_800);
});
