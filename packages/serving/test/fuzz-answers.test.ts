import { expect, test } from 'vitest';
import { fuzz } from './fuzz-answers.js';

test('500 damaged answers of a server reach the client whole, or as an error', async () => {
  const { runs, rejected } = await fuzz(5, 500);
  expect(runs).toBe(500);
  // Both ways through must be walked often for this to mean anything.
  expect(rejected).toBeGreaterThan(100);
  expect(rejected).toBeLessThan(450);
});
