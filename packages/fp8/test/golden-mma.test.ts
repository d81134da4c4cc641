import { readFixture, readFixtureJson } from '@moestack/fixtures';
import {
  type Architecture,
  type FormatName,
  matmul,
  mma,
  type QuantizedTensor,
  quantize,
} from '@moestack/fp8';
import { describe, expect, test } from 'vitest';
import { type ArrayReference, bits, f32, f64, quantCases, u8 } from './golden-arrays.js';

interface MmaCase {
  id: string;
  instr: string;
  a: 'e4m3' | 'e5m2';
  b: 'e4m3' | 'e5m2';
  M: number;
  N: number;
  K: number;
  output?: 'f32' | 'f16';
  A: number;
  B: number;
  C?: number;
  D: number;
  SA?: number;
  SB?: number;
  promoted128?: number;
}

const formatNames = { e4m3: 'e4m3fn', e5m2: 'e5m2' } as const;
const architectures: Record<string, Architecture> = {
  sm90: 'hopper',
  sm89: 'ada',
  sm100: 'blackwell',
  sm120: 'rtx-blackwell',
};

function load(name: 'mma' | 'mxmma'): { cases: MmaCase[]; buffer: ArrayBuffer } {
  return {
    cases: readFixtureJson<{ cases: MmaCase[] }>(`fp8/mma/${name}.json`).cases,
    buffer: new Uint8Array(readFixture(`fp8/mma/${name}.bin`)).buffer,
  };
}

function specOf(golden: MmaCase): Parameters<typeof mma>[0] {
  return {
    architecture: architectures[golden.instr.split('.')[0]!]!,
    aFormat: formatNames[golden.a],
    bFormat: formatNames[golden.b],
    output: golden.output ?? 'f32',
    m: golden.M,
    n: golden.N,
    k: golden.K,
  };
}

const plain = load('mma');
const codesOf = (buffer: ArrayBuffer, at: number, length: number): Uint8Array =>
  new Uint8Array(buffer, at, length);
const wordsOf = (at: number, length: number): Uint32Array => new Uint32Array(plain.buffer, at, length);

function unitScaled(codes: Uint8Array, shape: [number, number], format: FormatName): QuantizedTensor {
  return { shape, scheme: { kind: 'tensor', format }, codes, scales: Float32Array.of(1) };
}

test.each(plain.cases)('$id', (golden) => {
  const { M, N, K } = golden;
  const a = codesOf(plain.buffer, golden.A, M * K);
  const b = codesOf(plain.buffer, golden.B, N * K);
  const c = new Float32Array(plain.buffer, golden.C, M * N);
  expect(bits(mma(specOf(golden), a, b, c))).toEqual(wordsOf(golden.D, M * N));
});

const promoted = plain.cases.filter((golden) => golden.promoted128 !== undefined);

test.each(promoted)('$id promoted every 128', (golden) => {
  const { M, N, K } = golden;
  const { architecture, aFormat, bFormat } = specOf(golden);
  const a = unitScaled(codesOf(plain.buffer, golden.A, M * K), [M, K], aFormat);
  const b = unitScaled(codesOf(plain.buffer, golden.B, N * K), [N, K], bFormat);
  for (const promotion of ['deepgemm', 'kernelpy'] as const) {
    const d = matmul(a, b, { accumulate: architecture, promoteEvery: 128, promotion });
    expect(bits(d)).toEqual(wordsOf(golden.promoted128!, M * N));
  }
});

const mx = load('mxmma');

test.each(mx.cases)('$id', (golden) => {
  const { M, N, K } = golden;
  const a = codesOf(mx.buffer, golden.A, M * K);
  const b = codesOf(mx.buffer, golden.B, N * K);
  const scales = {
    a: codesOf(mx.buffer, golden.SA!, (M * K) / 32),
    b: codesOf(mx.buffer, golden.SB!, (N * K) / 32),
  };
  const expected = new Uint32Array(mx.buffer, golden.D, M * N);
  expect(bits(mma(specOf(golden), a, b, new Float32Array(M * N), scales))).toEqual(expected);
  const rtx = { ...specOf(golden), architecture: 'rtx-blackwell' } as const;
  expect(bits(mma(rtx, a, b, new Float32Array(M * N), scales))).toEqual(expected);
});

describe.each(quantCases.filter(({ op }) => op === 'gemm_blockscaled'))(
  'block-scaled GEMM $M x $N x $K',
  (golden) => {
    const shapeOf = (name: string): [number, number] =>
      (golden[name] as ArrayReference).shape as [number, number];
    const a = quantize(f32(golden, 'x'), shapeOf('x'), { kind: 'tile' });
    const weights = { kind: 'tile', tile: [128, 128] as [number, number], order: 'reciprocal' } as const;
    const b = quantize(f32(golden, 'w'), shapeOf('w'), weights);

    test('operands', () => {
      expect(a.codes).toEqual(u8(golden, 'qa'));
      expect(bits(a.scales)).toEqual(bits(f32(golden, 'sa')));
      expect(b.codes).toEqual(u8(golden, 'qb'));
      expect(bits(b.scales)).toEqual(bits(f32(golden, 'sb')));
    });

    test.each(['deepgemm', 'kernelpy'] as const)(
      'Hopper with %s promotion gives the same bits',
      (promotion) => {
        const d = matmul(a, b, { accumulate: 'hopper', promotion });
        expect(bits(d)).toEqual(bits(f32(golden, `sm90_${promotion}`)));
        expect(matmul(a, b, { accumulate: 'hopper', promotion, promoteEvery: 128 })).toEqual(d);
      },
    );

    test('double accumulation is the exact product, float32 is close', () => {
      const exact = f64(golden, 'exact');
      const norm = Math.hypot(...exact);
      const error = (d: Float32Array): number => Math.hypot(...d.map((x, i) => x - exact[i]!)) / norm;
      expect(matmul(a, b, { accumulate: 'f64' })).toEqual(Float32Array.from(exact));
      // Each of K/128 promotions and 128 additions rounds once by at most 2^-24.
      expect(error(matmul(a, b))).toBeLessThan(1e-6);
    });
  },
);
