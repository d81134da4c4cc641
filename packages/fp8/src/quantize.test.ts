import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decode } from './decode.js';
import { Fp8Error } from './errors.js';
import { floorLog2, powerOfTwo } from './exponent.js';
import { formats } from './format-spec.js';
import { packNibbles, unpackNibbles } from './pack.js';
import { dequantize, quantize, requantize, transposeQuantized } from './quantize.js';
import type { QuantizedTensor, Scheme } from './scheme.js';

const seed = 20_240_502;
const schemes: Scheme[] = [
  { kind: 'tensor' },
  { kind: 'row', format: 'e5m2' },
  { kind: 'row', scale: 'e8m0fnu' },
  { kind: 'tile' },
  { kind: 'tile', tile: [3, 5], format: 'e5m6', scale: 'powerOfTwo' },
  { kind: 'tile', tile: [128, 1], order: 'reciprocal' },
  { kind: 'tile', tile: [128, 128], scale: 'e8m0fnu' },
  { kind: 'mx', format: 'e4m3fn', rule: 'ceil' },
  { kind: 'mx', format: 'e2m1fn', rule: 'floor' },
  { kind: 'nvfp4' },
];
const matrix = fc
  .record({
    rows: fc.integer({ min: 0, max: 9 }),
    cols: fc.integer({ min: 0, max: 70 }),
    scheme: fc.constantFrom(...schemes),
    seed: fc.integer(),
    gain: fc.integer({ min: -120, max: 100 }),
  })
  .map(({ rows, cols, scheme, seed: start, gain }) => {
    let state = start;
    const values = Float32Array.from({ length: rows * cols }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      return (state / 2 ** 31) * powerOfTwo(gain);
    });
    return { values, shape: [rows, cols] as [number, number], scheme };
  });

test('values come back within the step of the format around their tile scale, shapes as promised', () => {
  fc.assert(
    fc.property(matrix, ({ values, shape, scheme }) => {
      const q = quantize(values, shape, scheme);
      const back = dequantize(q);
      expect(q.shape).toEqual(shape);
      expect(back.length).toBe(values.length);
      expect(q.scales.every((scale) => scale >= 0 && Number.isFinite(scale))).toBe(true);
      if (scheme.kind === 'nvfp4' || (scheme.kind === 'mx' && scheme.rule === 'floor')) return;
      const { mantissaBits, max } = formats[scheme.format ?? 'e4m3fn'];
      const floor = scheme.kind === 'tile' && scheme.tile === undefined ? 1e-4 : 0;
      const amax = values.reduce((top, x) => Math.max(top, Math.abs(x)), Math.max(floor, max * 2 ** -126));
      // Half a unit in the last place of the largest element, plus what rounding the scale lets saturate.
      for (let i = 0; i < values.length; i++) {
        const error = Math.abs(back[i]! - values[i]!);
        expect(error).toBeLessThanOrEqual(amax * 2 ** -(mantissaBits + 1) * (1 + 1e-6));
      }
    }),
    { seed, numRuns: 500 },
  );
});

test('power-of-two scales never saturate and quantising the result again changes nothing', () => {
  fc.assert(
    fc.property(matrix, ({ values, shape }) => {
      const scheme: Scheme = { kind: 'tile', tile: [2, 16], scale: 'e8m0fnu' };
      const q = quantize(values, shape, scheme);
      expect(q.scaleCodes).toEqual(Uint8Array.from(q.scales, (scale) => floorLog2(scale) + 127));
      expect(decode('e8m0fnu', q.scaleCodes!)).toEqual(q.scales);
      const back = dequantize(q);
      expect(dequantize(requantize(q, scheme))).toEqual(back);
    }),
    { seed, numRuns: 200 },
  );
});

describe('special values', () => {
  test('an all-zero tile gets scale 1, or the floor over max for activations', () => {
    const zeros = new Float32Array(4);
    expect(quantize(zeros, [2, 2], { kind: 'tile', tile: [2, 2] }).scales).toEqual(Float32Array.of(1));
    expect(quantize(zeros, [2, 2], { kind: 'tensor' }).scales).toEqual(Float32Array.of(1));
    const floored = Float32Array.of(Math.fround(1e-4) / 448);
    expect(quantize(zeros, [1, 4], { kind: 'tile' }).scales).toEqual(floored);
    expect(quantize(zeros, [1, 4], { kind: 'tile', amaxFloor: 0 }).scales).toEqual(Float32Array.of(1));
    const mx = quantize(zeros, [1, 4], { kind: 'mx', format: 'e4m3fn', rule: 'ceil' });
    expect([mx.scaleCodes![0], ...mx.codes]).toEqual([0, 0, 0, 0, 0]);
    const nvfp4 = quantize(zeros, [1, 4], { kind: 'nvfp4' });
    expect([nvfp4.globalScale, ...dequantize(nvfp4)]).toEqual([1, 0, 0, 0, 0]);
  });

  test('infinities saturate, NaN stays, and neither moves the scale', () => {
    const q = quantize(Float32Array.of(1, Infinity, -Infinity, Number.NaN), [1, 4], { kind: 'row' });
    expect([...q.codes]).toEqual([0x7e, 0x7e, 0xfe, 0x7f]);
    expect([...dequantize(q)]).toEqual([1, 1, -1, Number.NaN]);
  });

  test('scales do not underflow', () => {
    const tiny = Float32Array.of(2 ** -149, -(2 ** -130), 2 ** -126);
    for (const order of ['divide', 'reciprocal'] as const) {
      const q = quantize(tiny, [1, 3], { kind: 'tile', order, amaxFloor: 0 });
      expect(q.scales[0]).toBe(2 ** -126);
      expect([...q.codes]).toEqual([0, 0x80 | 0x18, 0x38]);
    }
  });

  test('an NVFP4 block far below the tensor maximum becomes zeros', () => {
    const values = new Float32Array(32).fill(1e-9, 0, 16).fill(1, 16);
    const q = quantize(values, [1, 32], { kind: 'nvfp4' });
    expect([...dequantize(q)].slice(0, 16)).toEqual(new Array(16).fill(0));
  });

  test('shared memory and views', () => {
    const values = new Float32Array(new SharedArrayBuffer(64), 4, 4).fill(3);
    const q = quantize(values, [2, 2], { kind: 'tensor' });
    const out = new Float32Array(new SharedArrayBuffer(64), 8, 4);
    expect([...dequantize(q, { out })]).toEqual([3, 3, 3, 3]);
  });
});

test('transposes codes in a Buffer without touching them', () => {
  const q = quantize(
    Float32Array.from({ length: 12 }, (_, i) => i - 5),
    [3, 4],
    { kind: 'tile', tile: [1, 2] },
  );
  const codes = Buffer.from(q.codes);
  const turned = transposeQuantized({ ...q, codes });
  expect([...codes]).toEqual([...q.codes]);
  const values = dequantize(q);
  expect([...dequantize(turned)]).toEqual(
    Array.from({ length: 12 }, (_, i) => values[(i % 3) * 4 + Math.floor(i / 3)]),
  );
});

describe('errors', () => {
  const values = new Float32Array(4);
  test.each([
    ['a shape of other size', [2, 3], { kind: 'tensor' }],
    ['a negative shape', [-2, -2], { kind: 'tensor' }],
    ['a fractional shape', [0.5, 8], { kind: 'tensor' }],
    ['an unknown kind', [2, 2], { kind: 'block' }],
    ['a zero tile', [2, 2], { kind: 'tile', tile: [0, 128] }],
    ['a negative floor', [2, 2], { kind: 'tile', amaxFloor: -1 }],
    ['a NaN floor', [2, 2], { kind: 'tile', amaxFloor: Number.NaN }],
    ['an unknown order', [2, 2], { kind: 'tile', order: 'multiply' }],
    ['an unknown scale', [2, 2], { kind: 'row', scale: 'f16' }],
    ['an unknown rule', [2, 2], { kind: 'mx', format: 'e4m3fn', rule: 'round' }],
    ['a scale format as elements', [2, 2], { kind: 'row', format: 'e8m0fnu' }],
    ['an unknown format', [2, 2], { kind: 'row', format: 'e9m9' }],
  ] as [string, [number, number], Scheme][])('%s', (_, shape, scheme) => {
    expect(() => quantize(values, shape, scheme)).toThrow(Fp8Error);
  });

  test.each([
    ['codes of another length', { codes: new Uint8Array(3) }],
    ['codes of another width', { codes: new Uint16Array(4) }],
    ['too few scales', { scales: new Float32Array(1) }],
    ['codes beyond the format', { codes: new Uint8Array(4).fill(200), scheme: { kind: 'nvfp4' } }],
  ] as [string, Partial<QuantizedTensor>][])('dequantize with %s', (_, change) => {
    const q = quantize(values, [2, 2], { kind: 'row' });
    expect(() => dequantize({ ...q, ...change })).toThrow(Fp8Error);
    expect(() => dequantize(q, { out: new Float32Array(3) })).toThrow('expected out of length 4, got 3');
  });

  test('nibbles', () => {
    expect(unpackNibbles(packNibbles(Uint8Array.of(1, 15)))).toEqual(Uint8Array.of(1, 15));
    expect(() => packNibbles(Uint8Array.of(1))).toThrow(Fp8Error);
    expect(() => packNibbles(Uint8Array.of(1, 16))).toThrow(Fp8Error);
  });
});
