import { generator, normal } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import { Arena } from './arena.js';
import { type Fp8ElementFormat, Fp8Kernels } from './fp8-kernels.js';
import type { ProductOperand, SegmentProductOptions } from './fp8-product.js';
import * as reference from './reference/index.js';

const arena = Arena.create({ maximumBytes: 48 << 20 });
const kernels = new Fp8Kernels(arena);
const formats = ['e4m3fn', 'e5m2'] as const;

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** Values of codes and their exponents, -110 for zeros, as tensor cores take them. */
function tables(format: Fp8ElementFormat): { table: Float32Array; exponents: Int8Array } {
  const [mantissa, bias] = format === 'e4m3fn' ? [3, 7] : [2, 15];
  const table = new Float32Array(256);
  const exponents = new Int8Array(256).fill(-110);
  for (let code = 0; code < 256; code++) {
    const field = (code & 0x7f) >> mantissa;
    const exponent = Math.max(field, 1) - bias;
    const fraction = (code & (2 ** mantissa - 1)) / 2 ** mantissa;
    table[code] = (code > 127 ? -1 : 1) * (field === 0 ? fraction : 1 + fraction) * 2 ** exponent;
    if (table[code] !== 0) exponents[code] = exponent;
  }
  return { table, exponents };
}

describe('encode', () => {
  it.each(formats)(
    'equals the reference on every binade, every midpoint and special values (%s)',
    (format) => {
      const { table } = tables(format);
      const words: number[] = [0, 1, 0x7f800000, 0x7f800001, 0x7fc00000, 0x7fffffff, 0x7f7fffff];
      for (let code = 0; code < 0x7e; code++) {
        const middle = bitsOf(Float32Array.of((table[code]! + table[code + 1]!) / 2))[0]!;
        const value = bitsOf(table)[code]!;
        for (const word of [middle, value]) words.push(Math.max(word - 1, 0), word, word + 1);
      }
      const random = generator(11);
      for (let i = 0; i < 40_000; i++) words.push(Math.floor(random() * 2 ** 31));
      const both = Uint32Array.from([...words, ...words.map((word) => (word | 0x80000000) >>> 0)]);
      for (const length of [0, 1, 2, 3, 4, 5, 15, 16, 17, 31, both.length]) {
        const values = new Float32Array(both.buffer, both.byteOffset, both.length).subarray(
          both.length - length,
        );
        const [codes, expected] = [new Uint8Array(length), new Uint8Array(length)];
        kernels.encode(format, values, codes);
        reference.encodeFp8(format, values, expected);
        expect(codes).toEqual(expected);
      }
    },
  );

  it('reads and writes shared and misaligned memory', () => {
    const values = new Float32Array(new SharedArrayBuffer(4 * 101), 4, 100).fill(-2);
    const codes = new Uint8Array(new SharedArrayBuffer(104), 3, 100);
    kernels.encode('e4m3fn', values, codes);
    expect([...codes]).toEqual(new Array(100).fill(0xc0));
  });
});

describe('decode', () => {
  it.each(formats)('equals the reference for every code, at any length (%s)', (format) => {
    for (const length of [0, 1, 15, 16, 17, 256, 40_000]) {
      const codes = Uint8Array.from({ length }, (_, i) => (i * 7) & 0xff);
      const [out, expected] = [new Float32Array(length), new Float32Array(length)];
      kernels.decode(format, codes, out);
      reference.decodeFp8(format, codes, expected);
      expect(bitsOf(out)).toEqual(bitsOf(expected));
    }
  });
});

describe('quantizeTiles', () => {
  const random = generator(5);
  const special = [Infinity, -Infinity, Number.NaN, 1e-44, -0];
  for (const format of formats) {
    for (const [tileRows, tileCols] of [
      [1, 128],
      [128, 128],
      [128, 1],
      [3, 5],
      [2, 1],
      [1000, 1000],
    ] as const) {
      it(`equals the reference with ${format} tiles of ${tileRows} x ${tileCols}`, () => {
        for (const [rows, cols] of [
          [1, 1],
          [3, 130],
          [130, 257],
          [257, 19],
          [5, 0],
          [260, 300],
        ] as const) {
          for (const options of [
            {},
            { reciprocal: true, amaxFloor: 1e-4 },
            { rule: 'powerOfTwo' },
            { rule: 'powerOfTwo', reciprocal: true },
            { rule: 'mxFloor', reciprocal: true },
            { rule: 'mxCeil', reciprocal: true },
          ] as const) {
            const x = normal(rows * cols, random, 2 ** Math.floor(random() * 240 - 140));
            for (let i = 7; i < x.length; i += 97) x[i] = special[i % 5]!;
            x.fill(0, 0, cols > 128 ? 128 : 0);
            const tiles = Math.ceil(rows / tileRows) * Math.ceil(cols / tileCols);
            const [codes, expected] = [new Uint8Array(x.length), new Uint8Array(x.length)];
            const [scales, expectedScales] = [new Float32Array(tiles), new Float32Array(tiles)];
            const all = { tileRows, tileCols, ...options };
            kernels.quantizeTiles(format, x, [rows, cols], all, codes, scales);
            reference.quantizeTiles(format, x, [rows, cols], all, expected, expectedScales);
            expect(scales.findIndex((scale, i) => scale !== expectedScales[i])).toBe(-1);
            expect(codes.findIndex((code, i) => code !== expected[i])).toBe(-1);
          }
        }
      });
    }
  }

  it('takes tiles larger than what is read at once', () => {
    const x = normal(700 * 500, random, 3);
    const run = (): [Uint8Array, Float32Array] => [new Uint8Array(x.length), new Float32Array(1)];
    const [codes, scales] = run();
    const [expected, expectedScales] = run();
    const options = { tileRows: 700, tileCols: 500 };
    kernels.quantizeTiles('e5m2', x, [700, 500], options, codes, scales);
    reference.quantizeTiles('e5m2', x, [700, 500], options, expected, expectedScales);
    expect(scales).toEqual(expectedScales);
    expect(codes.findIndex((code, i) => code !== expected[i])).toBe(-1);
  });
});

describe('segmentProduct', () => {
  const random = generator(3);
  const finite = (): number => {
    const code = Math.floor(random() * 256);
    return (code & 0x7f) >= 0x7b ? code & 0x80 : random() < 0.1 ? 0 : code;
  };
  const starts = (k: number, step: number): number[] => {
    const list: number[] = [];
    for (let start = 0; start < k; start += step) list.push(start);
    return [...list, k];
  };

  function operand(format: Fp8ElementFormat, rows: number, k: number, transposed: boolean): ProductOperand {
    const [tileRows, tileK] = [random() < 0.5 ? 1 : 128, 128];
    const scales = Float32Array.from(
      { length: Math.ceil(rows / tileRows) * Math.ceil(k / tileK) },
      () => random() * 2 ** Math.floor(random() * 20 - 10),
    );
    const data = Uint8Array.from({ length: rows * k }, finite);
    return { data, transposed, scales, tileRows, tileK, ...tables(format) };
  }

  it.each([
    [1, 1, 1],
    [3, 5, 40],
    [17, 23, 300],
    [130, 40, 129],
    [4, 520, 64],
    [516, 9, 33],
    [5, 3, 2500],
  ] as const)('equals the reference at %i x %i x %i', (m, n, k) => {
    for (const [aT, bT, fused, promotion] of [
      [false, false, 0, 'deepgemm'],
      [true, true, 0, 'kernelpy'],
      [false, true, 32, 'deepgemm'],
      [true, false, 16, 'kernelpy'],
    ] as const) {
      const a = operand(formats[Math.floor(random() * 2)]!, m, k, aT);
      const b = operand(formats[Math.floor(random() * 2)]!, n, k, bT);
      const options: SegmentProductOptions = { starts: starts(k, 128), promotion, fused };
      const [out, expected] = [new Float32Array(m * n).fill(9), new Float32Array(m * n)];
      kernels.segmentProduct(a, b, out, [m, n, k], options);
      reference.segmentProduct(a, b, expected, [m, n, k], options);
      expect(bitsOf(out)).toEqual(bitsOf(expected));
    }
  });

  it('chains onto the result as one instruction after the other', () => {
    const [m, n, k] = [6, 11, 200];
    const a = operand('e4m3fn', m, k, false);
    const b = operand('e5m2', n, k, false);
    const options: SegmentProductOptions = { starts: [0, k], promotion: 'chain', fused: 32 };
    const out = normal(m * n, random, 1e4);
    out[0] = 0;
    out[1] = 2 ** -94;
    const expected = out.slice();
    kernels.segmentProduct(a, b, out, [m, n, k], options);
    reference.segmentProduct(a, b, expected, [m, n, k], options);
    expect(bitsOf(out)).toEqual(bitsOf(expected));
  });

  it.each([
    [1, 1, 32],
    [7, 9, 100],
    [3, 17, 2300],
  ] as const)(
    'equals the reference of wide tensor cores at %i x %i x %i, with MX scales of any size',
    (m, n, k) => {
      for (const range of [0, 12, 250]) {
        for (const promotion of ['deepgemm', 'chain'] as const) {
          const side = (rows: number): ProductOperand => {
            const whole = operand(formats[Math.floor(random() * 2)]!, rows, k, false);
            const blockExponents = Int32Array.from(
              { length: rows * Math.ceil(k / 32) },
              () => Math.floor(random() * range) - (range >> 1),
            );
            const { scales: _, ...rest } = whole;
            // Whole blocks of zeros, whose exponent still counts.
            for (let i = 0; i + 64 < rest.data.length; i += 160) rest.data.fill(0, i, i + 40);
            return range === 0 ? rest : { ...rest, blockExponents };
          };
          const [a, b] = [side(m), side(n)];
          const c = normal(m * n, random, promotion === 'chain' ? 2 ** -Math.floor(random() * 140) : 0);
          const expected = c.slice();
          const options: SegmentProductOptions = { starts: starts(k, 160), promotion, wide: true };
          kernels.segmentProduct(a, b, c, [m, n, k], options);
          reference.segmentProduct(a, b, expected, [m, n, k], options);
          expect(bitsOf(c)).toEqual(bitsOf(expected));
        }
      }
    },
  );

  it('takes float32 operands, also in the arena, and joins segments with one rounding', () => {
    const [m, n, k] = [7, 9, 260];
    arena.scope(() => {
      const data = arena.f32(m * k);
      data.set(normal(m * k, random, 1));
      const b: ProductOperand = { data: normal(n * k, random, 1), transposed: true };
      for (const a of [{ data }, { data: data.slice() }]) {
        const [out, expected] = [new Float32Array(m * n), new Float32Array(m * n)];
        kernels.segmentProduct(a, b, out, [m, n, k], { starts: starts(k, 1) });
        reference.segmentProduct(a, b, expected, [m, n, k], { starts: starts(k, 1) });
        expect(bitsOf(out)).toEqual(bitsOf(expected));
      }
    });
  });

  it('rounds midpoints and float32 subnormals of the fused multiply-add once', () => {
    const one = (x: number, scale: number, c: number): number => {
      const out = new Float32Array(1);
      const a = { data: Float32Array.of(c, x), scales: Float32Array.of(1, scale), tileRows: 1, tileK: 1 };
      const b = { data: Float32Array.of(1, 1) };
      kernels.segmentProduct(a, b, out, [1, 1, 2], { starts: [0, 1, 2] });
      return out[0]!;
    };
    // 1 + 2^-24 + 2^-60 lies just above the midpoint after 1, which a double sum cannot tell.
    expect(one(1 + 2 ** -20, 2 ** -24 * (1 - 2 ** -20), 1)).toBe(1);
    expect(one(Math.fround(2 ** -24 * (1 + 2 ** -23)), Math.fround(1 - 2 ** -24), 1)).toBe(1 + 2 ** -23);
    expect(one(2 ** -149 * 3, 0.5, 2 ** -148)).toBe(2 ** -149 * 4);
    expect(one(2 ** -100, 2 ** -49 * (1 + 2 ** -23), 2 ** -149 * 0)).toBe(2 ** -149);
  });

  it('passes NaN and infinity through float32 sums', () => {
    const out = new Float32Array(4);
    const a = { data: Float32Array.of(1, Infinity, Number.NaN, 1) };
    const b = { data: Float32Array.of(1, 1, 1, 0) };
    kernels.segmentProduct(a, b, out, [2, 2, 2], { starts: [0, 2] });
    expect([...out]).toEqual([Infinity, Number.NaN, Number.NaN, Number.NaN]);
  });

  it('takes short tables of 16-bit codes, and rejects codes beyond them', () => {
    const table = Float32Array.of(0, 1, -2, 3);
    const a = { data: Uint16Array.of(0, 1, 2, 3), table };
    const out = new Float32Array(1);
    kernels.segmentProduct(a, a, out, [1, 1, 4], { starts: [0, 4] });
    expect(out[0]).toBe(14);
    for (const data of [Uint16Array.of(0, 1, 2, 4), Uint8Array.of(0, 1, 255, 3)]) {
      expect(() =>
        kernels.segmentProduct({ data, table }, a, out, [1, 1, 4], { starts: [0, 4] }),
      ).toThrowError(expect.objectContaining({ code: 'kernels/bad-codes' }));
    }
  });

  it.each([
    ['starts that do not end with k', { starts: [0, 1] }, 'kernels/bad-segments'],
    ['descending starts', { starts: [0, 3, 1, 4] }, 'kernels/bad-segments'],
    ['a tensor core without exponents', { starts: [0, 4], fused: 32 }, 'kernels/too-short'],
  ])('rejects %s', (_, options, code) => {
    const operandOf = { data: new Float32Array(8) };
    expect(() =>
      kernels.segmentProduct(operandOf, operandOf, new Float32Array(4), [2, 2, 4], options),
    ).toThrowError(expect.objectContaining({ code }));
  });
});
