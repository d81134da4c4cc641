import { expect, test } from 'vitest';
import { fuzz } from './fuzz-guardrail.js';

test('1,000 hostile texts, patterns and bodies end in a MoestackError or are usable', async () => {
  const { runs, rejected } = await fuzz(77, 1_000);
  expect(runs).toBe(1_000);
  expect(rejected).toBeGreaterThan(100);
  expect(rejected).toBeLessThan(900);
});
