import { expect, it } from 'vitest';
import { fuzz } from './fuzz-inputs.js';

it('rejects damaged archives and logs with typed errors only', async () => {
  const { runs, rejected } = await fuzz(1, 600);
  expect(runs).toBe(600);
  expect(rejected).toBeGreaterThan(200);
});
