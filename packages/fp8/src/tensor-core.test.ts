import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeTable } from './decode.js';
import { Fp8Error } from './errors.js';
import { powerOfTwo } from './exponent.js';
import { matmul } from './matmul.js';
import { type MmaSpec, mma } from './mma.js';
import { quantize } from './quantize.js';
import type { QuantizedTensor } from './scheme.js';
import type { Architecture } from './tensor-core.js';

const seed = 20_240_503;
const operand = ['e4m3fn', 'e5m2'] as const;
const limits = { e4m3fn: -6, e5m2: -14 } as const;
const models = {
  hopper: { fused: 32, align: 13, bits: 13 },
  ada: { fused: 16, align: 13, bits: 13 },
  blackwell: { fused: 32, align: 25, bits: 23 },
  'rtx-blackwell': { fused: 32, align: 25, bits: 23 },
} as const;

/** Significand and exponent with |significand| < 2, subnormal below `minimum`. */
function split(x: number, minimum: number): [significand: number, exponent: number] {
  if (x === 0) return [0, -126];
  let exponent = 0;
  let magnitude = Math.abs(x);
  for (; magnitude >= 2; exponent++) magnitude /= 2;
  for (; magnitude < 1; exponent--) magnitude *= 2;
  if (exponent < minimum) return [x / powerOfTwo(minimum), minimum];
  return [Math.sign(x) * magnitude, exponent];
}

/** The published rules step by step on plain numbers, as a second implementation; f32 output, finite operands. */
function reference(
  architecture: Architecture,
  a: { values: number[]; minimum: number },
  b: { values: number[]; minimum: number },
  c: number,
  scale = 0,
): number {
  const { fused, align, bits } = models[architecture];
  for (let start = 0; start < a.values.length; start += fused) {
    const terms = [split(c, -126)];
    for (let p = start; p < Math.min(start + fused, a.values.length); p++) {
      const [sa, ea] = split(a.values[p]!, a.minimum);
      const [sb, eb] = split(b.values[p]!, b.minimum);
      terms.push([sa * sb, ea + eb + scale]);
    }
    const top = Math.max(...terms.map(([, exponent]) => exponent));
    const sum = terms.reduce((total, [s, e]) => total + Math.trunc(s * 2 ** (align + e - top)), 0);
    const [s, e] = split(sum * 2 ** (top - align), -126);
    c = sum === 0 ? 0 : Math.trunc(s * 2 ** bits) * 2 ** (e - bits);
  }
  return c;
}

const finiteCode = fc.integer({ min: 0, max: 255 }).filter((code) => (code & 0x7f) < 0x7b);
const sparseCode = fc.oneof(finiteCode, fc.constantFrom(0, 0x80), fc.integer({ min: 1, max: 7 }));
const cases = fc.record({
  architecture: fc.constantFrom('hopper', 'ada', 'blackwell', 'rtx-blackwell') as fc.Arbitrary<Architecture>,
  aFormat: fc.constantFrom(...operand),
  bFormat: fc.constantFrom(...operand),
  codes: fc.array(fc.tuple(sparseCode, sparseCode), { minLength: 0, maxLength: 100 }),
  c: fc.oneof(
    fc.constant(0),
    fc.float({ min: -65536, max: 65536, noNaN: true }),
    fc.float({ min: 0, max: Math.fround(1e-35) }),
  ),
});

function run(spec: Omit<MmaSpec, 'm' | 'n'>, a: number[], b: number[], c: number): number {
  return mma({ ...spec, m: 1, n: 1 }, Uint8Array.from(a), Uint8Array.from(b), Float32Array.of(c))[0]!;
}

test('mma follows the published rules on any finite operands and any k', () => {
  fc.assert(
    fc.property(cases, ({ architecture, aFormat, bFormat, codes, c }) => {
      const [a, b] = [codes.map(([x]) => x), codes.map(([, y]) => y)];
      const d = run({ architecture, aFormat, bFormat, output: 'f32', k: codes.length }, a, b, c);
      const side = (format: 'e4m3fn' | 'e5m2', list: number[]): { values: number[]; minimum: number } => ({
        values: list.map((code) => decodeTable(format)[code]!),
        minimum: limits[format],
      });
      expect(d).toBe(reference(architecture, side(aFormat, a), side(bFormat, b), Math.fround(c)) + 0);
    }),
    { seed, numRuns: 2000 },
  );
});

test('MX scales shift the exponents of the products', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(finiteCode, finiteCode), { minLength: 32, maxLength: 32 }),
      fc.nat(254),
      fc.nat(254),
      (codes, sa, sb) => {
        const [a, b] = [codes.map(([x]) => x), codes.map(([, y]) => y)];
        const spec = {
          architecture: 'blackwell',
          aFormat: 'e4m3fn',
          bFormat: 'e4m3fn',
          output: 'f32',
          m: 1,
          n: 1,
          k: 32,
        } as const;
        const scales = { a: Uint8Array.of(sa), b: Uint8Array.of(sb) };
        const [d] = mma(spec, Uint8Array.from(a), Uint8Array.from(b), Float32Array.of(1), scales);
        const side = (list: number[]): { values: number[]; minimum: number } => ({
          values: list.map((code) => decodeTable('e4m3fn')[code]!),
          minimum: -6,
        });
        const expected = reference('blackwell', side(a), side(b), 1, sa + sb - 254);
        expect(d).toBe(Math.abs(expected) >= 2 ** 128 ? Math.sign(expected) * Infinity : expected + 0);
      },
    ),
    { seed, numRuns: 300 },
  );
});

test('the order of k inside one instruction does not matter', () => {
  fc.assert(
    fc.property(cases, fc.infiniteStream(fc.nat()), ({ architecture, aFormat, bFormat, codes, c }, keys) => {
      const part = codes.slice(0, models[architecture].fused);
      const shuffled = part
        .map((pair) => ({ pair, key: keys.next().value as number }))
        .sort((x, y) => x.key - y.key)
        .map(({ pair }) => pair);
      const spec = { architecture, aFormat, bFormat, output: 'f32', k: part.length } as const;
      const [first, second] = [part, shuffled].map((list) =>
        run(
          spec,
          list.map(([x]) => x),
          list.map(([, y]) => y),
          c,
        ),
      );
      expect(first).toBe(second);
    }),
    { seed, numRuns: 500 },
  );
});

describe('special values', () => {
  const spec = { architecture: 'hopper', aFormat: 'e5m2', bFormat: 'e5m2', output: 'f32', k: 2 } as const;
  const [one, zero, infinity, minusInfinity, nan] = [0x3c, 0, 0x7c, 0xfc, 0x7e];
  test.each([
    ['infinity survives', [infinity, one], [one, one], 0, Infinity],
    ['negative infinity survives', [minusInfinity, one], [one, one], 1e30, -Infinity],
    ['infinity times zero is NaN', [infinity, one], [zero, one], 0, Number.NaN],
    ['opposite infinities are NaN', [infinity, minusInfinity], [one, one], 0, Number.NaN],
    ['NaN is NaN', [nan, one], [one, one], 0, Number.NaN],
    ['an infinite accumulator stays', [one, one], [one, one], Infinity, Infinity],
    ['a NaN accumulator stays', [one, one], [one, one], Number.NaN, Number.NaN],
    ['cancelling infinities with the accumulator is NaN', [infinity, one], [one, one], -Infinity, Number.NaN],
  ])('%s', (_, a, b, c, expected) => {
    expect(run(spec, a, b, c)).toBe(expected);
    // And it survives the next instructions.
    const padded = (list: number[]): number[] => [...list, ...new Array<number>(62).fill(one)];
    expect(run({ ...spec, k: 64 }, padded(a), padded(b), c)).toBe(expected);
  });

  test('a NaN scale makes the result NaN, huge scales overflow to infinity', () => {
    const mx = {
      ...spec,
      architecture: 'blackwell',
      aFormat: 'e4m3fn',
      bFormat: 'e4m3fn',
      m: 1,
      n: 1,
      k: 1,
    } as const;
    const scaled = (scale: number): number =>
      mma(mx, Uint8Array.of(0x38), Uint8Array.of(0xb8), new Float32Array(1), {
        a: Uint8Array.of(scale),
        b: Uint8Array.of(scale),
      })[0]!;
    expect(scaled(255)).toBeNaN();
    expect(scaled(254)).toBe(-Infinity);
    expect(scaled(127)).toBe(-1);
  });

  test('half output overflows to infinity and rounds the accumulator first', () => {
    const half = { ...spec, output: 'f16' } as const;
    expect(run({ ...half, k: 1 }, [0x7b], [0x7b], 0)).toBe(Infinity);
    expect(run({ ...half, k: 0 }, [], [], 1 + 2 ** -12)).toBe(1);
  });
});

describe('matmul', () => {
  const ones = (rows: number, cols: number, scheme: QuantizedTensor['scheme']): QuantizedTensor =>
    quantize(new Float32Array(rows * cols).fill(1), [rows, cols], scheme);

  test('ragged tiles, zero sizes and out', () => {
    const a = ones(3, 200, { kind: 'tile', scale: 'powerOfTwo' });
    const b = ones(2, 200, { kind: 'tile', tile: [128, 128], scale: 'powerOfTwo' });
    const out = new Float32Array(6);
    expect(matmul(a, b, { out, accumulate: 'f64' })).toBe(out);
    expect([...out]).toEqual(new Array(6).fill(200));
    const empty = ones(3, 0, { kind: 'tile' });
    expect([...matmul(empty, ones(2, 0, { kind: 'row' }), { accumulate: 'hopper' })]).toEqual(
      new Array(6).fill(0),
    );
    expect(matmul(ones(0, 5, { kind: 'row' }), ones(2, 5, { kind: 'row' })).length).toBe(0);
  });

  test('formats that tensor cores lack work in scalar accumulation', () => {
    const a = ones(2, 40, { kind: 'nvfp4' });
    const b = ones(2, 40, { kind: 'mx', format: 'e2m3fn', rule: 'ceil' });
    for (const x of matmul(a, b)) expect(x).toBeCloseTo(40, 4);
    expect(() => matmul(a, b, { accumulate: 'blackwell' })).toThrow(/operands of e4m3fn or e5m2, got e2m1fn/);
  });

  test('MX operands use the scaled instructions on Blackwell', () => {
    const values = Float32Array.from({ length: 4 * 96 }, (_, i) => Math.sin(i) * 2 ** (i % 7));
    const scheme = { kind: 'mx', format: 'e4m3fn', rule: 'ceil' } as const;
    const a = quantize(values, [4, 96], scheme);
    const b = quantize(values.subarray(96), [3, 96], scheme);
    const shape = { aFormat: 'e4m3fn', bFormat: 'e4m3fn', output: 'f32', m: 4, n: 3, k: 96 } as const;
    const scales = { a: a.scaleCodes!, b: b.scaleCodes! };
    const inside = mma(
      { architecture: 'blackwell', ...shape },
      a.codes as Uint8Array,
      b.codes as Uint8Array,
      new Float32Array(12),
      scales,
    );
    expect(matmul(a, b, { accumulate: 'blackwell' })).toEqual(inside);
    const outside = matmul(a, b, { accumulate: 'hopper' });
    const exact = matmul(a, b, { accumulate: 'f64' });
    for (let i = 0; i < 12; i++)
      expect(Math.abs(outside[i]! - exact[i]!)).toBeLessThan(Math.abs(exact[i]!) * 1e-2 + 1e-2);
  });

  test('promotion every 128 beats none at least fivefold in Frobenius error at K = 4096 on normal data', () => {
    let state = seed;
    const uniform = (): number => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) + 0.5) / 2 ** 32;
    const normal = (): number => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    const size = 24;
    const make = (): QuantizedTensor =>
      quantize(Float32Array.from({ length: size * 4096 }, normal), [size, 4096], { kind: 'row' });
    const [a, b] = [make(), make()];
    const exact = matmul(a, b, { accumulate: 'f64' });
    const error = (d: Float32Array): number =>
      Math.hypot(...d.map((x, i) => x - exact[i]!)) / Math.hypot(...exact);
    const none = error(matmul(a, b, { accumulate: 'hopper' }));
    const promoted = error(matmul(a, b, { accumulate: 'hopper', promoteEvery: 128 }));
    expect(none / promoted).toBeGreaterThan(5);
    expect(error(matmul(a, b, { accumulate: 'blackwell' }))).toBeLessThan(promoted / 50);
  });

  const a = ones(2, 256, { kind: 'tile' });
  test.each([
    ['another K', ones(2, 128, { kind: 'tile' }), {}],
    ['an out of other size', a, { out: new Float32Array(3) }],
    ['an unknown accumulation', a, { accumulate: 'volta' as 'ada' }],
    ['an unknown promotion', a, { promotion: 'none' as 'kernelpy' }],
    ['a promotion inside an instruction', a, { accumulate: 'hopper', promoteEvery: 48 }],
    ['a promotion beyond the scale', a, { accumulate: 'hopper', promoteEvery: 256 }],
    ['a zero promotion', a, { promoteEvery: 0 }],
  ] as [string, QuantizedTensor, Parameters<typeof matmul>[2]][])('%s is an error', (_, b, options) => {
    expect(() => matmul(a, b, options)).toThrow(Fp8Error);
  });
});

test.each([
  ['an unknown architecture', { architecture: 'volta' as 'ada' }, {}],
  ['a format beyond the model', { aFormat: 'e2m1fn' as const }, {}],
  ['an unknown output', { output: 'bf16' as 'f16' }, {}],
  ['a negative size', { m: -1 }, {}],
  ['operands of other size', { k: 33 }, {}],
  ['scales on Hopper', {}, { scales: true }],
  [
    'scales with half output',
    { architecture: 'blackwell' as const, output: 'f16' as const },
    { scales: true },
  ],
  ['an accumulator of other size', {}, { c: new Float32Array(2) }],
])(
  'mma rejects %s',
  (_, change, { c = new Float32Array(1), scales = false }: { c?: Float32Array; scales?: boolean }) => {
    const spec = {
      architecture: 'hopper',
      aFormat: 'e4m3fn',
      bFormat: 'e4m3fn',
      output: 'f32',
      m: 1,
      n: 1,
      k: 32,
      ...change,
    } as const;
    const codes = new Uint8Array(32);
    const given = scales ? { a: Uint8Array.of(127), b: Uint8Array.of(127) } : undefined;
    expect(() => mma(spec, codes, codes, c, given)).toThrow(Fp8Error);
  },
);
