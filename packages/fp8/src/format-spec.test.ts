import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decode, decodeTable } from './decode.js';
import { encode } from './encode.js';
import { Fp8Error } from './errors.js';
import { defineFormat, type FormatName, formatSpec, formats } from './format-spec.js';

test.each([
  ['bf16', 0x7f7f, (2 - 2 ** -7) * 2 ** 127],
  ['f16', 0x7bff, 65504],
] as const)('%s has its IEEE maximum', (name, code, max) => {
  expect(formats[name].maxCode).toBe(code);
  expect(formats[name].max).toBe(max);
});

test('a defined format equals the built-in one of the same layout', () => {
  const e5m2 = defineFormat({ name: 'mine', exponentBits: 5, mantissaBits: 2 });
  expect(decodeTable(e5m2)).toEqual(decodeTable('e5m2'));
  const e4m3fn = defineFormat({ name: 'mine', exponentBits: 4, mantissaBits: 3, special: 'fn' });
  const values = Float32Array.of(0.3, -447, 1e9, Number.NaN, -0);
  expect(encode(e4m3fn, values)).toEqual(encode('e4m3fn', values));
});

test('formats without exponent range or mantissa work', () => {
  const e1m2 = defineFormat({ name: 'e1m2', exponentBits: 1, mantissaBits: 2, bias: 0, special: 'none' });
  expect([...decodeTable(e1m2)].slice(0, 8)).toEqual([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]);
  const e3m0 = defineFormat({ name: 'e3m0', exponentBits: 3, mantissaBits: 0, special: 'none' });
  expect([...decodeTable(e3m0)].slice(0, 8)).toEqual([0, 0.25, 0.5, 1, 2, 4, 8, 16]);
  // Ties go to the even code: 2 is code 4, 8 is code 6.
  expect([...decode(e3m0, encode(e3m0, Float32Array.of(3, 6, 5, -100, 0.1)))]).toEqual([2, 8, 4, -16, 0]);
});

test('a format whose bias exceeds that of float32 takes the general path', () => {
  const tiny = defineFormat({ name: 'tiny', exponentBits: 3, mantissaBits: 2, bias: 140, special: 'none' });
  const smallest = 2 ** (1 - 140 - 2);
  expect([...encode(tiny, Float32Array.of(smallest, 1.5 * smallest, 1))]).toEqual([1, 2, tiny.maxCode]);
});

test('any ExMy keeps its codes, rounds to a neighbour and saturates', () => {
  const definition = fc
    .record({
      exponentBits: fc.integer({ min: 1, max: 7 }),
      mantissaBits: fc.integer({ min: 0, max: 8 }),
      special: fc.constantFrom('ieee', 'fn', 'fnuz', 'none'),
    })
    .filter(({ exponentBits, mantissaBits, special }) =>
      special === 'ieee' ? mantissaBits > 0 : exponentBits + mantissaBits > 1,
    );
  fc.assert(
    fc.property(definition, fc.double({ min: -1, max: 1, noNaN: true }), (fields, fraction) => {
      const spec = defineFormat({ name: 'any', ...fields });
      const table = decodeTable(spec);
      const finite = [...table.keys()].filter((code) => Number.isFinite(table[code]!));
      const values = Float32Array.from(finite, (code) => table[code]!);
      expect([...encode(spec, values)]).toEqual(finite);
      expect([...encode(spec, Float64Array.from(values))]).toEqual(finite);
      const x = fraction * spec.max;
      const back = (rounding: 'nearestEven' | 'up' | 'down'): number =>
        decode(spec, encode(spec, Float64Array.of(x), { rounding }))[0]! + 0;
      const sorted = [...new Set(values)].sort((p, q) => p - q);
      expect(back('down')).toBe(sorted.filter((value) => value <= x).at(-1)! + 0);
      expect(back('up')).toBe(sorted.find((value) => value >= x)! + 0);
      const distance = Math.abs(back('nearestEven') - x);
      expect(distance).toBe(Math.min(...sorted.map((value) => Math.abs(value - x))));
      expect(decode(spec, encode(spec, Float32Array.of(3e38, -3e38)))).toEqual(
        Float32Array.of(spec.max, -spec.max),
      );
    }),
    { seed: 20_240_506, numRuns: 150 },
  );
});

test.each([
  { exponentBits: 0, mantissaBits: 3 },
  { exponentBits: 9, mantissaBits: 3 },
  { exponentBits: 4, mantissaBits: 12 },
  { exponentBits: 4, mantissaBits: -1 },
  { exponentBits: 4, mantissaBits: 1.5 },
  { exponentBits: 4, mantissaBits: 0 },
  { exponentBits: 1, mantissaBits: 0 },
  { exponentBits: 4, mantissaBits: 3, bias: 200 },
  { exponentBits: 4, mantissaBits: 3, bias: -130 },
  { exponentBits: 4, mantissaBits: 3, bias: 0.5 },
])('rejects %o', (definition) => {
  expect(() => defineFormat({ name: 'x', ...definition })).toThrow(Fp8Error);
});

test.each(['float8', 'toString', '__proto__'])('an unknown name %s is a typed error', (name) => {
  expect(() => formatSpec(name as FormatName)).toThrow(/unknown format .*use|unknown format/);
  expect(() => decode(name as FormatName, new Uint8Array(1))).toThrow(Fp8Error);
});
