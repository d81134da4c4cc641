import { readFixtureJson } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import { parseConfig } from './config.js';
import { fillCosSin, ropeTables } from './rope.js';
import { interleaveHalves } from './rope-layout.js';

interface Golden {
  variants: Record<string, { inv_freq: number[]; softmax_scale: number }>;
}

describe('ropeTables', () => {
  it.each(
    ['tiny-v3', 'tiny-v2-lite', 'tiny-v3-w8a8'].flatMap((folder) => [
      { folder, variant: 'yarn', config: 'config.json' },
      { folder, variant: 'no_yarn', config: 'config.no_yarn.json' },
    ]),
  )('gives the golden table of $folder $variant', ({ folder, variant, config }) => {
    const golden = readFixtureJson<Golden>(`routing-model/${folder}/golden.json`).variants[variant]!;
    const tables = ropeTables(parseConfig(readFixtureJson(`routing-model/${folder}/${config}`)));
    expect(tables.inverseFrequencies.length).toBe(golden.inv_freq.length);
    golden.inv_freq.forEach((expected, j) => {
      expect(Math.abs(tables.inverseFrequencies[j]! / expected - 1)).toBeLessThanOrEqual(1e-6);
    });
    expect(Math.abs(tables.softmaxScale - golden.softmax_scale)).toBeLessThanOrEqual(1e-12);
    expect(tables.magnitude).toBe(1);
  });

  it('scales cos and sin where mscale and mscale_all_dim differ', () => {
    const config = readFixtureJson<{ rope_scaling: object }>('routing-model/tiny-v3/config.json');
    const m = (mscale: number): number => 0.1 * mscale * Math.log(4) + 1;
    const withScaling = (fields: object) =>
      ropeTables(parseConfig({ ...config, rope_scaling: { ...config.rope_scaling, ...fields } })).magnitude;
    expect(withScaling({ mscale: 1, mscale_all_dim: 0.5 })).toBeCloseTo(m(1) / m(0.5), 14);
    expect(withScaling({ mscale: 0, mscale_all_dim: 0 })).toBeCloseTo(m(1), 14);
  });
});

describe('fillCosSin', () => {
  it('writes pairs of cos and sin per position', () => {
    const out = new Float32Array(2 * 4);
    fillCosSin({ inverseFrequencies: Float64Array.of(1, 0.5), softmaxScale: 1, magnitude: 2 }, 2, out);
    const expected = [2, 0, 2, 0, 2 * Math.cos(1), 2 * Math.sin(1), 2 * Math.cos(0.5), 2 * Math.sin(0.5)];
    expect([...out]).toEqual(expected.map(Math.fround));
  });
});

describe('interleaveHalves', () => {
  it('turns halves into pairs in every region and touches nothing else', () => {
    const x = Float32Array.from({ length: 24 }, (_, i) => i);
    interleaveHalves(x, { rows: 2, heads: 2, dims: 4, rowStride: 12, headStride: 6, offset: 1 });
    const region = (base: number) => [base, base + 1, base + 3, base + 2, base + 4, base + 5];
    expect([...x]).toEqual([...region(0), ...region(6), ...region(12), ...region(18)]);
  });

  it('is the permutation (j, half) -> 2 j + half for any even size', () => {
    for (const dims of [2, 6, 8, 64]) {
      const x = Float32Array.from({ length: dims }, (_, i) => i);
      interleaveHalves(x, { rows: 1, heads: 1, dims, rowStride: dims, headStride: 0, offset: 0 });
      expect([...x]).toEqual(Array.from({ length: dims }, (_, i) => (i >> 1) + (i & 1) * (dims / 2)));
    }
  });
});
