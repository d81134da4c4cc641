import { readFixture, readFixtureJson } from '@moestack/fixtures';
import { Arena, Kernels } from '@moestack/kernels';
import { describe, expect, it } from 'vitest';

interface GoldenArray {
  offset: number;
  shape: number[];
}
interface QuantCase {
  op: 'act_quant_1x128';
  scale: 'f32' | 'ue8m0';
  kind: string;
  m: number;
  k: number;
  x: GoldenArray;
  s: GoldenArray;
  q_div: GoldenArray;
}
interface GemmCase {
  op: 'gemm_blockscaled';
  m: number;
  n: number;
  k: number;
  x: GoldenArray;
  qa: GoldenArray;
  sa: GoldenArray;
  qb: GoldenArray;
  sb: GoldenArray;
  exact: GoldenArray;
}

const { cases } = readFixtureJson<{ cases: (QuantCase | GemmCase)[] }>('kernels/quant.json');
const bytes = Uint8Array.from(readFixture('kernels/quant.bin')).buffer;
const count = (array: GoldenArray): number => array.shape.reduce((a, b) => a * b, 1);
const f32 = (array: GoldenArray): Float32Array => new Float32Array(bytes, array.offset, count(array));
const f64 = (array: GoldenArray): Float64Array => new Float64Array(bytes, array.offset, count(array));
const u8 = (array: GoldenArray): Uint8Array => new Uint8Array(bytes, array.offset, count(array));
const bf16 = (array: GoldenArray): Float32Array => {
  const codes = new Uint16Array(bytes, array.offset, count(array));
  return new Float32Array(Uint32Array.from(codes, (code) => code << 16).buffer);
};

const kernels = new Kernels(Arena.create({ maximumBytes: 1 << 21 }));
const quantCases = cases.filter((item): item is QuantCase => item.op === 'act_quant_1x128');
const gemmCases = cases.filter((item): item is GemmCase => item.op === 'gemm_blockscaled');

describe('golden activation quantisation', () => {
  it.each(quantCases)(
    '$kind $m x $k, $scale scales: codes and scales exact',
    ({ m, k, scale, x, s, q_div }) => {
      const codes = new Uint8Array(m * k);
      const scales = new Float32Array((m * k) / 128);
      kernels.quantizeActivations(f32(x), codes, scales, m, k, {
        scale: scale === 'f32' ? 'f32' : 'powerOfTwo',
      });
      expect(scales).toEqual(f32(s));
      expect(codes).toEqual(u8(q_div));
    },
  );
});

describe('golden block-scaled products', () => {
  it.each(gemmCases)('linearW8A8 $m x $n x $k', ({ m, n, k, x, qa, sa, qb, sb, exact }) => {
    kernels.arena.scope(() => {
      const codes = new Uint8Array(m * k);
      const scales = new Float32Array((m * k) / 128);
      kernels.quantizeActivations(bf16(x), codes, scales, m, k);
      expect(codes).toEqual(u8(qa));
      expect(scales).toEqual(f32(sa));
      const weight = kernels.pack({ format: 'e4m3fn', rows: n, cols: k, data: u8(qb), scales: f32(sb) });
      const out = new Float32Array(m * n);
      kernels.linearW8A8(weight, bf16(x), out, m);
      const golden = f64(exact);
      // Float32 sums of k products against float64; elements are of order 1 to 10.
      for (let i = 0; i < golden.length; i++) expect(Math.abs(out[i]! - golden[i]!)).toBeLessThan(2e-5);
    });
  });
});
