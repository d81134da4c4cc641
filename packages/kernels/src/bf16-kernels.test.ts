import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from './arena.js';
import { Bf16Kernels } from './bf16-kernels.js';
import * as reference from './reference/index.js';

const kernels = new Bf16Kernels(Arena.create({ maximumBytes: 16 << 20 }));

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

describe('widen', () => {
  it('equals the reference on every BF16 number, at any length and place', () => {
    const all = Uint16Array.from({ length: 2 ** 16 }, (_, code) => code);
    for (const [start, length] of [
      [0, 2 ** 16],
      [1, 0],
      [3, 1],
      [5, 7],
      [2, 9],
      [0x7f00, 33_000],
    ] as const) {
      const values = all.subarray(start, start + length);
      const [out, expected] = [new Float32Array(values.length), new Float32Array(values.length)];
      kernels.widen(values, out);
      reference.widenBf16(values, expected);
      expect(Buffer.from(out.buffer).equals(Buffer.from(expected.buffer))).toBe(true);
    }
  });
});

describe('quantizeTiles', () => {
  it('equals the reference on the widened matrix, ragged and special ones included', () => {
    const cases = fc.record({
      rows: fc.integer({ min: 0, max: 40 }),
      cols: fc.oneof(fc.integer({ min: 0, max: 150 }), fc.constant(1100)),
      tile: fc.constantFrom([128, 128], [1, 128], [32, 16], [7, 5]) as fc.Arbitrary<[number, number]>,
      format: fc.constantFrom('e4m3fn', 'e5m2'),
      seed: fc.nat(),
      special: fc.boolean(),
    });
    fc.assert(
      fc.property(cases, ({ rows, cols, tile, format, seed, special }) => {
        let state = seed;
        const values = Uint16Array.from({ length: rows * cols }, () => {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
          // Any number, NaN and infinity included, or those from 2^-7 to 2^8.
          return special ? state >>> 16 : ((state >>> 16) & 0x83ff) | 0x3c00;
        });
        const count = Math.ceil(rows / tile[0]) * Math.ceil(cols / tile[1]);
        const [codes, scales] = [new Uint8Array(rows * cols), new Float32Array(count)];
        kernels.quantizeTiles(format, values, [rows, cols], tile, codes, scales);
        const widened = new Float32Array(rows * cols);
        reference.widenBf16(values, widened);
        const [wantedCodes, wantedScales] = [new Uint8Array(rows * cols), new Float32Array(count)];
        const options = { tileRows: tile[0], tileCols: tile[1] };
        reference.quantizeTiles(format, widened, [rows, cols], options, wantedCodes, wantedScales);
        expect(bitsOf(scales)).toEqual(bitsOf(wantedScales));
        expect(Buffer.from(codes).equals(wantedCodes)).toBe(true);
      }),
      { seed: 4, numRuns: 40 },
    );
  });

  it('refuses operands that do not fit', () => {
    const [codes, scales] = [new Uint8Array(4), new Float32Array(1)];
    const run = (length: number, tile: [number, number]) =>
      kernels.quantizeTiles('e4m3fn', new Uint16Array(length), [2, 2], tile, codes, scales);
    expect(() => run(3, [128, 128])).toThrow(/values/);
    expect(() => run(4, [0, 128])).toThrow(/tile rows/);
    expect(() => run(4, [1, 1])).toThrow(/scales/);
  });
});
