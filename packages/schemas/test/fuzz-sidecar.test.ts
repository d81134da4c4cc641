import { expect, test } from 'vitest';
import { fuzz } from './fuzz-sidecar.js';

test('10,000 mutated sidecars end in a MoestackError or are valid', () => {
  const { runs, rejected } = fuzz(2024, 10_000);
  expect(runs).toBe(10_000);
  // Most mutations break the file; if few did, the mutator would be too tame to mean anything.
  expect(rejected).toBeGreaterThan(6_000);
  expect(rejected).toBeLessThan(10_000);
});
