import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena } from './arena.js';
import { ReduceKernels } from './reduce-kernels.js';
import * as reference from './reference/index.js';
import type { ReduceDtype, ReduceOperation } from './reference/reduce.js';

type Elements = Float32Array | Uint16Array | Int32Array;

const dtypes: ReduceDtype[] = ['f32', 'bf16', 'f16', 'i32'];
const operations: ReduceOperation[] = ['sum', 'max', 'min'];
const lengths = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 1001];
const shared = Arena.create({ maximumBytes: 1 << 22, shared: true });
const kernels = [new ReduceKernels(shared), new ReduceKernels(Arena.create({ maximumBytes: 1 << 22 }))];

/** Words of all kinds: any bits, small numbers, subnormals, infinities and NaN. */
const words = (length: number) =>
  fc.array(
    fc.oneof(
      fc.integer({ min: -0x80000000, max: 0x7fffffff }),
      fc.constantFrom(
        0,
        0x80000000 | 0,
        0x7f800000,
        0xff800000 | 0,
        0x7fc00001,
        0xffffffff | 0,
        1,
        0x3f800000,
        0x477fefff,
        0x477ff000,
        0x387fffff,
        0x33000000,
        0x7bff7bff,
        0x04000001,
      ),
    ),
    { minLength: length, maxLength: length },
  );

function view(dtype: ReduceDtype, bits: readonly number[], n: number): Elements {
  const raw = Int32Array.from(bits).buffer;
  return dtype === 'f32'
    ? new Float32Array(raw, 0, n)
    : dtype === 'i32'
      ? new Int32Array(raw, 0, n)
      : new Uint16Array(raw, 0, n);
}

const bytes = (x: Elements): Uint8Array => new Uint8Array(x.buffer, x.byteOffset, x.byteLength).slice();

describe('reduce', () => {
  it('equals the reference bit for bit for every dtype, operation and memory', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...dtypes),
        fc.constantFrom(...operations),
        fc.constantFrom(...lengths).chain((n) => fc.tuple(fc.constant(n), words(n), words(n))),
        (dtype, operation, [n, left, right]) => {
          const a = view(dtype, left, n);
          const b = view(dtype, right, n);
          const expected = a.slice();
          reference.reduce(dtype, operation, a, b, expected, n);
          for (const kernel of kernels) {
            const actual = a.slice();
            kernel.reduce(dtype, operation, a, b, actual, n);
            expect(bytes(actual)).toEqual(bytes(expected));
            const inPlace = b.slice();
            kernel.reduce(dtype, operation, a, inPlace, inPlace, n);
            expect(bytes(inPlace)).toEqual(bytes(expected));
          }
        },
      ),
      { numRuns: 300, seed: 11 },
    );
  });

  it('sums every pair of a 16-bit code with a sample of others as the reference does', () => {
    const all = Uint16Array.from({ length: 65_536 }, (_, i) => i);
    const expected = new Uint16Array(65_536);
    const actual = new Uint16Array(65_536);
    for (const dtype of ['bf16', 'f16'] as const) {
      for (const other of [
        0, 0x8000, 1, 0x03ff, 0x0400, 0x3c00, 0x3f80, 0x7bff, 0xfbff, 0x7c00, 0x7f7f, 0x7f80,
      ]) {
        const b = new Uint16Array(65_536).fill(other);
        for (const operation of operations) {
          reference.reduce(dtype, operation, all, b, expected, 65_536);
          kernels[0]!.reduce(dtype, operation, all, b, actual, 65_536);
          expect(Buffer.compare(bytes(actual), bytes(expected))).toBe(0);
        }
      }
    }
  });

  it('reads and writes all binary16 codes without change', () => {
    for (let code = 0; code < 65_536; code++) {
      const value = reference.decodeF16(code);
      if (!Number.isNaN(value)) expect(reference.encodeF16(value)).toBe(code);
    }
  });

  it('works at byte offsets of the memory, also unaligned and by the last byte', () => {
    const kernel = kernels[0]!;
    shared.scope(() => {
      const all = shared.u8(4096);
      const at = all.byteOffset;
      const a = new Uint16Array(shared.memory.buffer as ArrayBuffer, at, 5).fill(0x3f80);
      new Uint8Array(shared.memory.buffer as ArrayBuffer, at + 101, 10).set(bytes(a));
      kernel.reduceAt(
        ReduceKernels.dtypeCode('bf16'),
        ReduceKernels.operationCode('sum'),
        at,
        at + 101,
        at + 203,
        10,
      );
      const out = new Uint16Array(all.slice(203, 213).buffer);
      expect([...out]).toEqual([0x4000, 0x4000, 0x4000, 0x4000, 0x4000]);
      expect(all[213]).toBe(0);
      kernel.copyAt(at + 203, at + 301, 10);
      expect(all.slice(301, 311)).toEqual(all.slice(203, 213));
      expect(all[311]).toBe(0);
    });
  });

  it('refuses unknown names, wrong arrays and ranges outside the memory', () => {
    const kernel = kernels[0]!;
    const x = new Float32Array(4);
    expect(() => kernel.reduce('f64' as 'f32', 'sum', x, x, x, 4)).toThrow('got f64');
    expect(() => kernel.reduce('f32', 'product' as 'sum', x, x, x, 4)).toThrow('got product');
    expect(() => kernel.reduce('bf16', 'sum', x, x, x, 4)).toThrow('Uint16Array');
    expect(() => kernel.reduce('f32', 'sum', x, x, x, 5)).toThrow('at least 5 elements');
    expect(() => kernel.copyAt(-1, 0, 1)).toThrow('expected bytes within');
    expect(() => kernel.copyAt(0, shared.capacityBytes - 3, 4)).toThrow('expected bytes within');
    expect(() => kernel.reduceAt(0, 0, Number.NaN, 0, 0, 4)).toThrow('expected bytes within');
  });
});

describe('packBf16 and unpackBf16', () => {
  it('equal the reference bit for bit', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...lengths).chain((n) => fc.tuple(fc.constant(n), words(n))),
        ([n, bits]) => {
          const x = view('f32', bits, n) as Float32Array;
          const expected = new Uint16Array(n);
          const widened = new Float32Array(n);
          reference.packBf16(x, expected, n);
          reference.unpackBf16(expected, widened, n);
          for (const kernel of kernels) {
            const codes = new Uint16Array(n);
            const back = new Float32Array(n);
            kernel.packBf16(x, codes, n);
            kernel.unpackBf16(codes, back, n);
            expect(codes).toEqual(expected);
            expect(bytes(back)).toEqual(bytes(widened));
          }
        },
      ),
      { numRuns: 200, seed: 12 },
    );
  });
});
