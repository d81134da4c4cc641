import { TextScorer } from '@moestack/detect';
import { generator } from '@moestack/fixtures';
import { expect, it } from 'vitest';

it('a long text of a large vocabulary takes the memory of a row, not of a tensor', () => {
  const vocabulary = 151_936;
  const random = generator(1);
  const rows = [0, 1].map(() => Float32Array.from({ length: vocabulary }, () => 10 * random()));
  const run = (positions: number): void => {
    const scorer = new TextScorer({ vocabulary, top: 10 });
    for (let t = 0; t < positions; t++) scorer.push(rows[0]!, rows[1]!, { nextToken: t });
    expect(scorer.finish().tokens.length).toBe(positions);
  };
  run(2);
  const used = (): number => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = used();
  run(60);
  // Sixty positions of one model alone would be 36 MB.
  expect(used() - before).toBeLessThan(8 * 2 ** 20);
});
