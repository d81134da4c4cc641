import { expect, it } from 'vitest';
import { fuzz } from './fuzz-gateway.js';

/** More of them on demand: MOESTACK_HOSTILE_REQUESTS=10000. */
const requests = Number(process.env['MOESTACK_HOSTILE_REQUESTS'] ?? 600);

it(`goes on serving through ${requests} hostile requests`, async () => {
  const { runs, rejected } = await fuzz(20_261, requests);
  expect(runs).toBe(requests);
  expect(rejected).toBeGreaterThan(requests / 3);
  // Some are harmless; refusing all of them at the door would prove nothing.
  expect(rejected).toBeLessThan(requests * 0.98);
}, 600_000);
