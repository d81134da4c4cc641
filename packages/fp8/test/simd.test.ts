import { generator, normal } from '@moestack/fixtures';
import {
  type Architecture,
  encode,
  type FormatName,
  formats,
  matmul,
  mma,
  type QuantizedTensor,
  quantize,
  type Scheme,
} from '@moestack/fp8';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeFloat32Nearest, simdEncoder } from '../src/encode.js';
import { encodePolicy } from '../src/encode-policy.js';
import { scalarProduct } from '../src/matmul-scalar.js';
import { accumulationOf } from '../src/product.js';
import { quantizedOperand } from '../src/product-operand.js';
import { scalarQuantize } from '../src/quantize.js';
import { schemeLayout } from '../src/scheme.js';
import { simdKernels } from '../src/simd.js';
import { chainDot, tensorCore, unpackOperand } from '../src/tensor-core.js';
import { bits } from './golden-arrays.js';

const seed = 20_240_504;
const fp8 = ['e4m3fn', 'e5m2'] as const;

/** Any float32 by its bits: subnormals, infinities and NaNs of every payload. */
function anyFloats(length: number, random: () => number): Float32Array {
  const words = Uint32Array.from({ length }, () => Math.floor(random() * 2 ** 32));
  return new Float32Array(words.buffer);
}

/** Values of ordinary size with every kind of special value among them. */
function withSpecials(length: number, random: () => number): Float32Array {
  const specials = [0, -0, Infinity, -Infinity, Number.NaN, 1e-45, -1e-40, 3e38, 2 ** -126];
  const values = normal(length, random, 2 ** Math.floor(random() * 100 - 50));
  for (let i = 0; i < length; i++) {
    if (random() < 0.05) values[i] = specials[Math.floor(random() * specials.length)]!;
  }
  return values;
}

test('the kernels run here, so that these tests compare two implementations', () => {
  expect(simdKernels()).toBeDefined();
});

describe.each(fp8)('encode %s', (format) => {
  const spec = formats[format];
  const policy = encodePolicy(spec, {});

  test.each([256, 257, 300, 16_384, 16_387, 50_001])(
    'of %i values is that of the scalar encoder',
    (length) => {
      expect(simdEncoder(spec, policy)).toBeDefined();
      const random = generator(length);
      for (const make of [anyFloats, withSpecials]) {
        const values = make(length, random);
        const expected = new Uint8Array(length);
        encodeFloat32Nearest(spec, policy, values, expected);
        expect(encode(format, values)).toEqual(expected);
      }
    },
  );

  test('covers every float32 with any of the upper 20 bits, on both sides of each rounding boundary', () => {
    const words = new Uint32Array(2 ** 20 * 3);
    for (let i = 0; i < 2 ** 20; i++) for (let j = 0; j < 3; j++) words[3 * i + j] = (i << 12) + j - 1;
    const values = new Float32Array(words.buffer);
    const expected = new Uint8Array(values.length);
    encodeFloat32Nearest(spec, policy, values, expected);
    const codes = encode(format, values);
    expect(codes.findIndex((code, i) => code !== expected[i])).toBe(-1);
  });

  test('works on misaligned and shared memory, in and out', () => {
    const source = withSpecials(1000, generator(3));
    const values = new Float32Array(new SharedArrayBuffer(4 * 1001), 4, 1000);
    values.set(source);
    const out = new Uint8Array(new SharedArrayBuffer(1007), 7, 1000);
    encode(format, values, { out });
    const expected = new Uint8Array(1000);
    encodeFloat32Nearest(spec, policy, source, expected);
    expect([...out]).toEqual([...expected]);
  });
});

test('presets that only differ in NaN or overflow keep their own codes', () => {
  const values = new Float32Array(512).fill(Number.NaN).fill(1e9, 256);
  expect(new Set(encode('e5m2', values, { preset: 'torch-2.13' }))).toEqual(new Set([0x7f, 0x7c]));
  expect(new Set(encode('e5m2', values, { preset: 'nvidia-satfinite' }))).toEqual(new Set([0x7f, 0x7b]));
  expect(new Set(encode('e4m3fn', values, { preset: 'torch-2.13' }))).toEqual(new Set([0x7f, 0x7e]));
  expect(new Set(encode('e4m3fn', values, { preset: 'ml_dtypes' }))).toEqual(new Set([0x7f]));
});

const schemes = (format: 'e4m3fn' | 'e5m2'): Scheme[] => [
  { kind: 'tensor', format },
  { kind: 'tensor', format, scale: 'powerOfTwo' },
  { kind: 'row', format, scale: 'e8m0fnu' },
  { kind: 'tile', format },
  { kind: 'tile', format, order: 'reciprocal', scale: 'powerOfTwo' },
  { kind: 'tile', format, tile: [128, 128], scale: 'e8m0fnu' },
  { kind: 'tile', format, tile: [128, 128], order: 'reciprocal' },
  { kind: 'tile', format, tile: [128, 1] },
  { kind: 'tile', format, tile: [128, 1], amaxFloor: 1e-4, scale: 'powerOfTwo' },
  { kind: 'tile', format, tile: [7, 3], order: 'reciprocal' },
  { kind: 'mx', format, rule: 'floor' },
  { kind: 'mx', format, rule: 'ceil' },
];

/** Arrays by their bytes, which is quicker than element by element. */
function expectSame(q: QuantizedTensor, expected: QuantizedTensor): void {
  const bytesOf = ({ codes, scales, scaleCodes }: QuantizedTensor): Buffer[] =>
    [codes, scales, scaleCodes ?? codes].map((view) =>
      Buffer.from(view.buffer, view.byteOffset, view.byteLength),
    );
  const [seen, wanted] = [bytesOf(q), bytesOf(expected)];
  expect(seen.map((bytes, i) => bytes.equals(wanted[i]!))).toEqual([true, true, true]);
  const none = { codes: new Uint8Array(0), scales: new Float32Array(0) };
  const length = (t: QuantizedTensor): number | undefined => t.scaleCodes?.length;
  expect(length(q)).toBe(length(expected));
  expect({ ...q, ...none, scaleCodes: none.codes }).toEqual({ ...expected, ...none, scaleCodes: none.codes });
}

describe.each(fp8)('quantize to %s', (format) => {
  test.each(schemes(format).map((scheme) => [JSON.stringify(scheme), scheme] as const))('%s', (_, scheme) => {
    const random = generator(seed);
    for (const shape of [
      [1, 256],
      [129, 131],
      [140, 35],
      [2, 3000],
    ] as [number, number][]) {
      const values = withSpecials(shape[0] * shape[1], random);
      values.fill(0, 0, 200);
      const expected = scalarQuantize(values, scheme, schemeLayout(shape, scheme));
      const q = quantize(values, shape, scheme);
      expectSame(q, expected);
      const out = { codes: new Uint8Array(values.length), scales: new Float32Array(q.scales.length) };
      const again = quantize(values, shape, scheme, { out });
      expect(again.codes).toBe(out.codes);
      expect(again.scales).toBe(out.scales);
      expectSame(again, q);
    }
  });
});

/** Codes of every value, NaN and infinity included, with scales of random size. */
function randomTensor(
  format: FormatName,
  [rows, cols]: [number, number],
  scheme: Scheme,
  random: () => number,
  specialShare: number,
): QuantizedTensor {
  const spec = formats[format];
  const codes = Uint8Array.from({ length: rows * cols }, () => {
    const code = Math.floor(random() * 256);
    if ((code & 0x7f) <= spec.maxCode) return random() < 0.05 ? code & 0x80 : code;
    return random() < specialShare ? code : 0;
  });
  const { blockRows, blockCols } = schemeLayout([rows, cols], scheme);
  const scales = Float32Array.from(
    { length: blockRows * blockCols },
    () => random() * 2 ** (random() * 40 - 20),
  );
  return { shape: [rows, cols], scheme, codes, scales };
}

describe.each(['f32', 'hopper', 'ada', 'blackwell', 'rtx-blackwell'] as const)(
  'matmul in %s',
  (accumulate) => {
    test('has the bits of the scalar order, with NaN, infinity and ragged tiles', () => {
      const random = generator(seed + 1);
      const tiles = [
        [1, 128],
        [128, 128],
        [3, 40],
      ] as [number, number][];
      for (let round = 0; round < 40; round++) {
        const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
        const [m, n, k] = [pick([1, 5, 40]), pick([3, 33, 70]), pick([1, 31, 130, 400])];
        const make = (rows: number): QuantizedTensor => {
          const format = pick(fp8);
          const scheme: Scheme =
            random() < 0.2 ? { kind: 'row', format } : { kind: 'tile', format, tile: pick(tiles) };
          return randomTensor(format, [rows, k], scheme, random, round % 2 === 0 ? 0 : 0.02);
        };
        const [a, b] = [make(m), make(n)];
        const options = { accumulate, promotion: pick(['deepgemm', 'kernelpy'] as const) };
        const [left, right] = [quantizedOperand(a, 'a'), quantizedOperand(b, 'b')];
        const expected = new Float32Array(m * n);
        scalarProduct(left, right, accumulationOf(left, right, options), expected);
        const actual = matmul(a, b, options);
        // NaN by class: its payload depends on the engine.
        const canonical = (values: Float32Array): Uint32Array =>
          bits(values.map((value) => (Number.isNaN(value) ? Number.NaN : value)));
        expect(canonical(actual)).toEqual(canonical(expected));
      }
    });
  },
);

test('float32 products of every pair of formats have the bits of the scalar order', () => {
  const random = generator(seed + 5);
  const names = (Object.keys(formats) as FormatName[]).filter((name) => name !== 'e8m0fnu');
  const [m, n, k] = [8, 16, 150];
  const tensors = names.map((format) => {
    const values = normal(n * k, random);
    return quantize(values, [n, k], { kind: 'tile', tile: [1, 40], format });
  });
  for (const a of tensors) {
    for (const b of tensors) {
      const left = { ...a, shape: [m, k] as [number, number], codes: a.codes.subarray(0, m * k) };
      left.scales = a.scales.subarray(0, m * 4);
      const sides = [quantizedOperand(left, 'a'), quantizedOperand(b, 'b')] as const;
      const expected = new Float32Array(m * n);
      scalarProduct(...sides, accumulationOf(...sides, {}), expected);
      expect(bits(matmul(left, b))).toEqual(bits(expected));
    }
  }
  const hostile = { ...tensors[0]!, ...quantize(new Float32Array(n * k), [n, k], { kind: 'nvfp4' }) };
  (hostile.codes as Uint8Array)[77] = 16;
  expect(() => matmul(hostile, tensors[0]!)).toThrow(/4-bit codes of e2m1fn, got 16 at index 77/);
});

test('products read shared and misaligned codes and scales', () => {
  const random = generator(seed + 4);
  const shared = (q: QuantizedTensor): QuantizedTensor => {
    const codes = new Uint8Array(new SharedArrayBuffer(q.codes.length + 3), 3, q.codes.length);
    const scales = new Float32Array(new SharedArrayBuffer(q.scales.byteLength + 4), 4, q.scales.length);
    codes.set(q.codes);
    scales.set(q.scales);
    return { ...q, codes, scales };
  };
  const a = quantize(normal(33 * 200, random), [33, 200], { kind: 'tile' });
  const b = quantize(normal(20 * 200, random), [20, 200], { kind: 'tile', tile: [128, 128] });
  for (const accumulate of ['f32', 'f64', 'hopper', 'blackwell'] as const) {
    const out = new Float32Array(new SharedArrayBuffer(33 * 20 * 4 + 4), 4, 33 * 20);
    matmul(shared(a), shared(b), { accumulate, out });
    expect([...out]).toEqual([...matmul(a, b, { accumulate })]);
  }
});

test('MX operands on Blackwell have the bits of the scalar path, NaN scales and ragged blocks included', () => {
  const random = generator(seed + 3);
  for (const promoteEvery of [undefined, 64]) {
    for (const [m, n, k] of [
      [9, 21, 100],
      [20, 12, 320],
    ] as const) {
      const make = (rows: number): QuantizedTensor => {
        const format = fp8[rows % 2]!;
        const q = quantize(withSpecials(rows * k, random), [rows, k], { kind: 'mx', format, rule: 'ceil' });
        q.scaleCodes![5] = 255;
        return q;
      };
      const [a, b] = [make(m), make(n)];
      const [left, right] = [quantizedOperand(a, 'a'), quantizedOperand(b, 'b')];
      const options = {
        accumulate: 'blackwell',
        ...(promoteEvery === undefined ? {} : { promoteEvery }),
      } as const;
      const expected = new Float32Array(m * n);
      scalarProduct(left, right, accumulationOf(left, right, options), expected);
      expect(matmul(a, b, options)).toEqual(expected);
    }
  }
  const q = quantize(normal(64 * 64, random), [64, 64], { kind: 'mx', format: 'e4m3fn', rule: 'ceil' });
  const { scaleCodes: _, ...bare } = q;
  expect(() => matmul(bare, q, { accumulate: 'blackwell' })).toThrow(/scaleCodes in a/);
});

test.each([
  ['hopper', false],
  ['ada', false],
  ['blackwell', false],
  ['blackwell', true],
  ['rtx-blackwell', true],
] as const)('mma as %s (MX: %s) has the bits of the scalar chain, whatever c', (architecture, isMx) => {
  const random = generator(seed + 2);
  const accumulators = [0, -0, 1, -3e4, 1e30, 1e-29, 1e-38, 1e-45, 3e38, Infinity, Number.NaN];
  for (let round = 0; round < 20; round++) {
    const [m, n, k] = [7, 19, [32, 64, 100, 1500][round % 4]!];
    const [aFormat, bFormat] = [fp8[round & 1]!, fp8[(round >> 1) & 1]!];
    const scheme = (format: FormatName): Scheme => ({ kind: 'tensor', format });
    const share = round < 10 ? 0 : 0.01;
    const a = randomTensor(aFormat, [m, k], scheme(aFormat), random, share).codes as Uint8Array;
    const b = randomTensor(bFormat, [n, k], scheme(bFormat), random, share).codes as Uint8Array;
    const c = Float32Array.from({ length: m * n }, (_, i) =>
      round % 3 === 0 && i % 5 === 0 ? accumulators[Math.floor(random() * 11)]! : random() * 1e3 - 500,
    );
    const spec = { architecture, aFormat, bFormat, output: 'f32', m, n, k } as const;
    const range = [1, 20, 256][round % 3]!;
    const scaleCodes = (rows: number): Uint8Array =>
      Uint8Array.from({ length: rows * Math.ceil(k / 32) }, () =>
        Math.floor(128 - range / 2 + random() * range),
      );
    const scales = isMx ? { a: scaleCodes(m), b: scaleCodes(n) } : undefined;
    const chain = {
      core: tensorCore(architecture),
      output: 'f32',
      a: unpackOperand(aFormat, a, m, k),
      b: unpackOperand(bFormat, b, n, k),
      k,
      aScales: scales?.a,
      bScales: scales?.b,
    } as const;
    const expected = new Float32Array(m * n);
    const words = bits(expected);
    for (let i = 0; i < m * n; i++) {
      expected[i] = chainDot(chain, Math.floor(i / n), i % n, 0, k, c[i]!);
      if (Number.isNaN(expected[i])) words[i] = 0x7fffffff;
    }
    expect(bits(mma(spec, a, b, c, scales))).toEqual(words);
  }
});

test.each([
  ['hopper', 32],
  ['ada', 16],
  ['blackwell', 32],
] as [Architecture, number][])(
  'the order of k inside one instruction of %s does not matter',
  (architecture, fused) => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (start, permutation) => {
        const random = generator(start);
        const [m, n, k] = [16, 16, 64];
        const scheme: Scheme = { kind: 'tensor', format: 'e4m3fn' };
        const [a, b] = [m, n].map(
          (rows) => randomTensor('e4m3fn', [rows, k], scheme, random, 0).codes as Uint8Array,
        );
        const shuffle = generator(permutation);
        const order = Array.from({ length: k }, (_, p) => ({ p, key: Math.floor(p / fused) + shuffle() }))
          .sort((x, y) => x.key - y.key)
          .map(({ p }) => p);
        const permuted = (codes: Uint8Array): Uint8Array =>
          codes.map((_, i) => codes[i - (i % k) + order[i % k]!]!);
        const spec = { architecture, aFormat: 'e4m3fn', bFormat: 'e4m3fn', output: 'f32', m, n, k } as const;
        const c = normal(m * n, random, 1e3);
        expect(bits(mma(spec, permuted(a!), permuted(b!), c))).toEqual(bits(mma(spec, a!, b!, c)));
      }),
      { seed, numRuns: 100 },
    );
  },
);
