import { invalid } from './scheme.js';
import type { TensorCore } from './tensor-core.js';

/** Length along k of one tensor-core instruction. */
const INSTRUCTION_K = 32;

/**
 * Where partial sums start along k: at every multiple of `promoteEvery` and of the tile lengths, ending with k.
 *
 * @param tiles - lengths along k under one scale; a sum must not cross them.
 * @returns ascending starts and k itself; `[k]` alone for k = 0.
 */
export function segmentStarts(
  k: number,
  tiles: readonly number[],
  promoteEvery: number | undefined,
  core: TensorCore | undefined,
): readonly number[] {
  if (promoteEvery !== undefined) checkPromoteEvery(promoteEvery, k, tiles, core);
  const starts = new Set<number>();
  for (const step of promoteEvery === undefined ? [...tiles, k] : [...tiles, promoteEvery]) {
    for (let start = 0; start < k; start += step) starts.add(start);
  }
  return [...[...starts].sort((x, y) => x - y), k];
}

function checkPromoteEvery(
  promoteEvery: number,
  k: number,
  tiles: readonly number[],
  core: TensorCore | undefined,
): void {
  const step = core === undefined ? 1 : INSTRUCTION_K;
  if (!Number.isSafeInteger(promoteEvery) || promoteEvery < 1 || promoteEvery % step !== 0) {
    const expected = `promoteEvery as a positive multiple of ${step}`;
    throw invalid('bad-promotion', expected, promoteEvery, 'the DeepSeek-V3 report uses 128');
  }
  const tile = Math.min(...tiles, k);
  if (promoteEvery > tile && tile < k) {
    const expected = `promoteEvery of at most ${tile}, where the scale changes along K`;
    throw invalid('bad-promotion', expected, promoteEvery, 'use coarser scales to promote less often');
  }
}
