import { decode, decodeTable, encode, matmul, quantize } from '@moestack/fp8';
import { type BenchCase, type BenchGroup, defineBench } from '@moestack/tooling/bench';

const ELEMENTS = 2 ** 22;
const ROWS = 64;
const COLUMNS = 128;

/** Uniform numbers in [-0.5, 0.5), seeded. */
function uniform(length: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 32;
  });
}

function tableLoop(codes: Uint8Array, table: Float32Array, out: Float32Array): void {
  for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]!]!;
}

/** What a plain JavaScript GEMM does: float32 products and sums, one dot at a time. */
function plainGemm(x: Float32Array, w: Float32Array, out: Float32Array, k: number): void {
  for (let row = 0; row < ROWS; row++) {
    for (let col = 0; col < COLUMNS; col++) {
      let sum = 0;
      const i = row * k;
      const j = col * k;
      for (let p = 0; p < k; p++) sum = Math.fround(sum + Math.fround(x[i + p]! * w[j + p]!));
      out[row * COLUMNS + col] = sum;
    }
  }
}

function codecs(): BenchGroup {
  const values = uniform(ELEMENTS, 1);
  const codes = encode('e4m3fn', values) as Uint8Array;
  const out = new Float32Array(ELEMENTS);
  const table = decodeTable('e4m3fn');
  const work = ELEMENTS / 1e6;
  const item = (name: string, run: () => unknown): BenchCase => ({ name, unit: 'Melem/s', work, run });
  return {
    name: 'codecs',
    cases: [
      item('table loop', () => tableLoop(codes, table, out)),
      item('decode e4m3fn', () => decode('e4m3fn', codes, { out })),
      item('encode e4m3fn', () => encode('e4m3fn', values, { out: codes })),
      item('quantize 1x128', () => quantize(values, [ELEMENTS / 4096, 4096], { kind: 'tile' })),
    ],
    ratios: [{ name: 'decode / table loop', numerator: 'decode e4m3fn', denominator: 'table loop', aim: 1 }],
  };
}

function gemm(k: number): BenchGroup {
  const x = uniform(ROWS * k, 2);
  const w = uniform(COLUMNS * k, 3);
  const a = quantize(x, [ROWS, k], { kind: 'tile' });
  const b = quantize(w, [COLUMNS, k], { kind: 'tile', tile: [128, 128] });
  const out = new Float32Array(ROWS * COLUMNS);
  const work = (ROWS * COLUMNS * k) / 1e6;
  const item = (name: string, run: () => unknown): BenchCase => ({
    name: `${name} K=${k}`,
    unit: 'MMAC/s',
    work,
    run,
  });
  const product = (accumulate: 'f32' | 'hopper' | 'ada' | 'blackwell'): Float32Array =>
    matmul(a, b, { accumulate, out });
  const architectures = ['hopper', 'ada', 'blackwell'] as const;
  return {
    name: `GEMM K=${k}`,
    rounds: 9,
    cases: [
      item('plain f32', () => plainGemm(x, w, out, k)),
      item('matmul f32', () => product('f32')),
      ...architectures.map((name) => item(`matmul ${name}`, () => product(name))),
    ],
    ratios: architectures.map((name) => ({
      name: `matmul ${name} / plain f32 K=${k}`,
      numerator: `matmul ${name} K=${k}`,
      denominator: `plain f32 K=${k}`,
      aim: 0.2,
    })),
  };
}

export default defineBench({
  name: 'fp8',
  notes: ['one thread, scalar TypeScript; 4 Mi elements; GEMM 64 x 128 x K with 1x128 and 128x128 scales'],
  groups: () => [codecs(), ...[512, 1024, 2048].map(gemm)],
});
