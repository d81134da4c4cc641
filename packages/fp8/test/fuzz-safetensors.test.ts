import { expect, test } from 'vitest';
import { fuzz } from './fuzz-safetensors.js';

const HEAP_LIMIT_BYTES = 64 * 2 ** 20;

test('10,000 mutated files end in a MoestackError or are valid, within 64 MiB of heap', async () => {
  await fuzz(1, 200);
  const before = process.memoryUsage();
  const { runs, rejected } = await fuzz(2024, 10_000);
  const after = process.memoryUsage();
  expect(runs).toBe(10_000);
  // Most mutations break the file; if few did, the mutator would be too tame to mean anything.
  expect(rejected).toBeGreaterThan(8_000);
  expect(rejected).toBeLessThan(10_000);
  const growth = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
  expect(growth).toBeLessThan(HEAP_LIMIT_BYTES);
});

test('a seed fixes the outcome', async () => {
  expect(await fuzz(7, 500)).toEqual(await fuzz(7, 500));
});
