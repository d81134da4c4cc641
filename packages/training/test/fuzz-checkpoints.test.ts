import { expect, it } from 'vitest';
import { fuzz } from './fuzz-checkpoints.js';

it('rejects damaged checkpoints with typed errors only', async () => {
  const { runs, rejected } = await fuzz(1, 100);
  expect(runs).toBe(100);
  expect(rejected).toBeGreaterThan(60);
});
