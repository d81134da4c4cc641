import { expect, it } from 'vitest';
import { fuzz } from './fuzz-engine-files.js';

it('damaged engine files end in typed errors or whole data', async () => {
  const { runs, rejected } = await fuzz(20_260_101, 1650);
  expect(runs).toBe(1650);
  expect(rejected).toBeGreaterThan(700);
});
