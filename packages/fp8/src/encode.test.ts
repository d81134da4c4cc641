import { generator } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decode, decodeTable } from './decode.js';
import { type EncodeOptions, encode } from './encode.js';
import type { Preset, Rounding } from './encode-policy.js';
import { Fp8Error } from './errors.js';
import { type FormatName, formats } from './format-spec.js';

const names = Object.keys(formats) as FormatName[];
const signed = names.filter((name) => name !== 'e8m0fnu');
const seed = 20_240_501;

/** Any float32 by its bits: subnormals, infinities and NaNs are as likely as their codes. */
const anyFloat32 = fc
  .integer({ min: 0, max: 2 ** 32 - 1 })
  .map((word) => new Float32Array(Uint32Array.of(word).buffer)[0]!);
const finite = anyFloat32.filter(Number.isFinite);

function codeOf(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (error instanceof Fp8Error) return error.code;
    throw error;
  }
  return 'accepted';
}

describe.each(signed)('%s', (name) => {
  const one = (value: number, options?: EncodeOptions): number =>
    decode(name, encode(name, Float64Array.of(value), options))[0]!;

  test('every code but NaN survives a round trip', () => {
    const table = decodeTable(name);
    const saturating = encode(name, table);
    const open = encode(name, table, { overflow: 'nonSaturating' });
    const changed: number[] = [];
    for (let code = 0; code < table.length; code++) {
      if (Number.isNaN(table[code])) continue;
      const saturated = Number.isFinite(table[code]) ? code : code - 1;
      if (saturating[code] !== saturated || open[code] !== code) changed.push(code);
    }
    expect(changed).toEqual([]);
  });

  test('float32 and the same doubles give the same codes', () => {
    const property = fc.property(
      fc.array(anyFloat32),
      fc.constantFrom('saturate', 'nonSaturating'),
      (xs, overflow) => {
        const values = Float32Array.from(xs.filter((x) => !Number.isNaN(x)));
        const options = { overflow } as const;
        expect(encode(name, values, options)).toEqual(encode(name, Float64Array.from(values), options));
      },
    );
    fc.assert(property, { seed, numRuns: 300 });
  });

  test('nearest is monotonic and never farther than the directed neighbours', () => {
    const property = fc.property(finite, finite, (x, y) => {
      const [low, high] = [Math.min(x, y), Math.max(x, y)];
      expect(one(low)).toBeLessThanOrEqual(one(high));
      const [down, up, nearest] = [one(x, { rounding: 'down' }), one(x, { rounding: 'up' }), one(x)];
      if (Math.abs(x) <= formats[name].max) {
        expect(down).toBeLessThanOrEqual(x);
        expect(up).toBeGreaterThanOrEqual(x);
        expect(Math.abs(nearest - x)).toBe(Math.min(x - down, up - x));
        expect(Math.abs(one(x, { rounding: 'towardZero' }))).toBe(Math.min(Math.abs(down), Math.abs(up)));
      } else expect(nearest).toBe(Math.sign(x) * formats[name].max);
    });
    fc.assert(property, { seed, numRuns: 300 });
  });

  test('stochastic rounding is unbiased and seeded', () => {
    const property = fc.property(fc.double({ min: -1, max: 1, noNaN: true }), fc.nat(), (fraction, state) => {
      const x = fraction * formats[name].max;
      const [down, up] = [one(x, { rounding: 'down' }), one(x, { rounding: 'up' })];
      const n = 2000;
      const draw = (): Float32Array =>
        decode(
          name,
          encode(name, new Float64Array(n).fill(x), { rounding: 'stochastic', random: generator(state) }),
        );
      const values = draw();
      expect(values).toEqual(draw());
      if (down === up) expect(new Set(values)).toEqual(new Set([x]));
      else {
        const ups = values.reduce((count, value) => count + (value === up ? 1 : 0), 0);
        expect(values.every((value) => value === up || value === down)).toBe(true);
        // P(up) = discarded fraction; five standard deviations of a binomial share.
        const share = (x - down) / (up - down);
        expect(Math.abs(ups / n - share)).toBeLessThan(5 * Math.sqrt((share * (1 - share)) / n) + 1e-9);
      }
    });
    fc.assert(property, { seed, numRuns: 10 });
  });
});

test('non-saturating directed rounding stops at the largest value on its way to zero', () => {
  const encoded = (rounding: Rounding): number[] => [
    ...decode('e5m2', encode('e5m2', Float64Array.of(1e9, -1e9), { rounding, overflow: 'nonSaturating' })),
  ];
  expect(encoded('towardZero')).toEqual([57344, -57344]);
  expect(encoded('up')).toEqual([Infinity, -57344]);
  expect(encoded('down')).toEqual([57344, -Infinity]);
  expect(encoded('nearestAway')).toEqual([Infinity, -Infinity]);
});

test('doubles beyond and below the float32 range are rounded as they are', () => {
  const extremes = Float64Array.of(1e300, -1e300, 5e-324, -5e-324, Number.MAX_VALUE);
  expect([...encode('e4m3fn', extremes)]).toEqual([0x7e, 0xfe, 0, 0x80, 0x7e]);
  expect([...encode('e4m3fn', extremes, { rounding: 'up' })]).toEqual([0x7e, 0xfe, 1, 0x80, 0x7e]);
  // The smallest double above a midpoint, which float32 cannot tell from it.
  expect([...encode('e4m3fn', Float64Array.of(2 ** -10 * (1 + 2 ** -52), 2 ** -10))]).toEqual([1, 0]);
});

test('e8m0fnu rounds by request and else as ml_dtypes', () => {
  const values = Float64Array.of(1.25, 1.5, 3e38, Infinity, 0, -1, Number.NaN, 1e-40);
  expect(encode('e8m0fnu', values)).toEqual(encode('e8m0fnu', values, { preset: 'ml_dtypes' }));
  expect([...encode('e8m0fnu', values, { rounding: 'up' })]).toEqual([128, 128, 255, 255, 255, 255, 255, 0]);
  expect([...encode('e8m0fnu', values, { rounding: 'down' })]).toEqual([
    127, 127, 254, 255, 255, 255, 255, 0,
  ]);
  expect([...encode('e8m0fnu', values, { overflow: 'saturate' })]).toEqual([
    127, 128, 254, 254, 255, 255, 255, 0,
  ]);
});

test('e8m0fnu rounds up with the probability of the discarded fraction when stochastic', () => {
  const n = 4000;
  for (const [value, share] of [
    [1.25, 0.25],
    [3, 0.5],
    [7.2, 0.8],
  ] as const) {
    const values = new Float64Array(n).fill(value);
    const codes = [...encode('e8m0fnu', values, { rounding: 'stochastic', random: generator(1) })];
    const low = Math.floor(Math.log2(value)) + 127;
    expect(codes.every((code) => code === low || code === low + 1)).toBe(true);
    const ups = codes.reduce((count, code) => count + code - low, 0);
    expect(Math.abs(ups / n - share)).toBeLessThan(5 * Math.sqrt((share * (1 - share)) / n));
  }
});

test('stochastic rounding saturates, keeps special values and is unbiased over many values', () => {
  const random = generator(7);
  const n = 200_000;
  const values = Float32Array.from({ length: n }, () => random() * 2 - 1);
  const rounded = decode('e4m3fn', encode('e4m3fn', values, { rounding: 'stochastic', random }));
  let bias = 0;
  let variance = 0;
  for (let i = 0; i < n; i++) {
    bias += rounded[i]! - values[i]!;
    variance += (rounded[i]! - values[i]!) ** 2;
  }
  // The mean error is within five of its standard deviations; nearest rounding of 0.51 alone would be off by far more.
  expect(Math.abs(bias)).toBeLessThan(5 * Math.sqrt(variance));
  const special = Float32Array.of(1e9, -Infinity, Number.NaN, -0, 448);
  const codes = encode('e4m3fn', special, { rounding: 'stochastic', random });
  expect([...codes]).toEqual([0x7e, 0xfe, 0x7f, 0x80, 0x7e]);
});

test('shared memory, views and caller-owned outputs work', () => {
  const values = new Float32Array(new SharedArrayBuffer(16), 4, 2);
  values.set([1, -2]);
  const out = new Uint8Array(new SharedArrayBuffer(8), 3, 2);
  expect(encode('e4m3fn', values, { out })).toBe(out);
  const decoded = new Float32Array(2);
  expect(decode('e4m3fn', out, { out: decoded })).toBe(decoded);
  expect([...decoded]).toEqual([1, -2]);
  expect(encode('e4m3fn', new Float32Array(0))).toEqual(new Uint8Array(0));
});

test.each([
  ['a preset with rounding', { preset: 'ml_dtypes', rounding: 'up' }, 'fp8/preset-conflict'],
  ['a preset with overflow', { preset: 'torch-2.13', overflow: 'saturate' }, 'fp8/preset-conflict'],
  ['a preset without the format', { preset: 'nvidia-rz' }, 'fp8/preset-format'],
  ['an unknown preset', { preset: 'torch' as Preset }, 'fp8/bad-preset'],
  ['an unknown rounding', { rounding: 'nearest' as Rounding }, 'fp8/bad-rounding'],
  ['an unknown overflow', { overflow: 'wrap' as 'saturate' }, 'fp8/bad-overflow'],
  ['stochastic rounding without a generator', { rounding: 'stochastic' }, 'fp8/no-random'],
  ['an out of another length', { out: new Uint8Array(2) }, 'fp8/bad-out'],
  ['an out of another width', { out: new Uint16Array(1) }, 'fp8/bad-codes'],
] as [string, EncodeOptions, string][])('%s is an error', (_, options, code) => {
  expect(codeOf(() => encode('e4m3fn', Float32Array.of(1), options))).toBe(code);
});

test('wrong arrays are errors', () => {
  expect(codeOf(() => encode('e4m3fn', [1] as unknown as Float32Array))).toBe('fp8/bad-values');
  expect(codeOf(() => decode('bf16', new Uint8Array(1)))).toBe('fp8/bad-codes');
  expect(codeOf(() => decode('e2m1fn', Uint8Array.of(3, 16)))).toBe('fp8/bad-codes');
  expect(codeOf(() => decode('e5m6', Uint16Array.of(4096)))).toBe('fp8/bad-codes');
  expect(codeOf(() => decode('e4m3fn', new Uint8Array(2), { out: new Float32Array(1) }))).toBe('fp8/bad-out');
});
