import { expect, test } from 'vitest';
import { fuzz } from './fuzz-checkpoint.js';

test('2,000 broken checkpoints end in a MoestackError, or open, convert and open again', async () => {
  const { runs, rejected } = await fuzz(99, 2000);
  expect(runs).toBe(2000);
  // Both ways through must be walked often for this to mean anything.
  expect(rejected).toBeGreaterThan(400);
  expect(rejected).toBeLessThan(1600);
}, 60_000);
