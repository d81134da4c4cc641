import { expect, test } from 'vitest';
import { fuzz } from './fuzz-checkpoint.js';

test('800 broken checkpoints end in a MoestackError, or open, convert and open again', async () => {
  const { runs, rejected } = await fuzz(99, 800);
  expect(runs).toBe(800);
  // Both ways through must be walked often for this to mean anything.
  expect(rejected).toBeGreaterThan(160);
  expect(rejected).toBeLessThan(640);
}, 60_000);
