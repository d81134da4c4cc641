import { expect, it } from 'vitest';
import { fuzz } from './fuzz-gateway.js';

it('goes on serving through hostile requests', async () => {
  const { runs, rejected } = await fuzz(20_261, 600);
  expect(runs).toBe(600);
  expect(rejected).toBeGreaterThan(200);
});
