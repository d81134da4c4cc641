import { describe, expect, it } from 'vitest';
import { Arena } from './arena.js';
import { KernelsError } from './errors.js';
import { Kernels } from './kernels.js';
import type { WeightData } from './types.js';

const kernels = new Kernels(Arena.create({ maximumBytes: 1 << 20 }));
const small: WeightData = { format: 'f32', rows: 2, cols: 3, data: Float32Array.of(1, 2, 3, 4, 5, 6) };

function codeOf(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (KernelsError.isInstance(error)) return error.code;
    throw error;
  }
  return 'none';
}

describe('Kernels', () => {
  it('refuses weights whose data or scales do not fit their shape', () => {
    expect(codeOf(() => kernels.pack({ ...small, rows: 3 }))).toBe('kernels/bad-weight');
    expect(codeOf(() => kernels.pack({ ...small, format: 'bf16' }))).toBe('kernels/bad-weight');
    expect(codeOf(() => kernels.pack({ ...small, format: 'f16' as 'f32' }))).toBe('kernels/bad-format');
    expect(codeOf(() => kernels.pack({ ...small, rows: 0 }))).toBe('kernels/bad-size');
    expect(codeOf(() => kernels.pack({ ...small, scales: new Float32Array(1) }))).toBe('kernels/bad-scales');
    const fp8: WeightData = {
      format: 'e4m3fn',
      rows: 129,
      cols: 1,
      data: new Uint8Array(129),
      scales: new Float32Array(1),
    };
    expect(codeOf(() => kernels.pack(fp8))).toBe('kernels/bad-scales');
  });

  it('frees what it took when a weight does not fit', () => {
    const used = kernels.arena.usedBytes;
    const big: WeightData = { format: 'f32', rows: 1024, cols: 1024, data: new Float32Array(1 << 20) };
    expect(codeOf(() => kernels.pack(big))).toBe('kernels/out-of-memory');
    expect(kernels.arena.usedBytes).toBe(used);
  });

  it('checks operands before it writes anything', () => {
    const weight = kernels.pack(small);
    const out = new Float32Array(4);
    const x = new Float32Array(6);
    expect(codeOf(() => kernels.linear(weight, x, out, 3))).toBe('kernels/too-short');
    expect(codeOf(() => kernels.linear(weight, x, out.subarray(1), 2))).toBe('kernels/too-short');
    expect(codeOf(() => kernels.linear(weight, x, out, -1))).toBe('kernels/bad-size');
    expect(codeOf(() => kernels.linear(weight, x, out, 1.5))).toBe('kernels/bad-size');
    expect(codeOf(() => kernels.linear(weight, x, out, 2, { xStride: 2 }))).toBe('kernels/bad-stride');
    expect(codeOf(() => kernels.linear(weight, x, out, 1, { rowStart: 1 }))).toBe('kernels/needs-rows');
    expect(codeOf(() => kernels.linearTransposed(weight, x, out, 1))).toBe('kernels/needs-rows');
    expect(codeOf(() => kernels.linearW8A8(weight, x, out, 1))).toBe('kernels/bad-format');
    expect(codeOf(() => kernels.gemm(x, x, out, { m: 2, n: 2, k: 4 }))).toBe('kernels/too-short');
    expect(codeOf(() => kernels.softmax(x, 2, 4))).toBe('kernels/too-short');
    expect(codeOf(() => kernels.rmsNorm(x, x, out, 2, 3, { epsilon: 1e-6 }))).toBe('kernels/too-short');
    const rows = kernels.pack(small, { layout: 'rows' });
    expect(codeOf(() => kernels.linear(rows, x, out, 1, { rowStart: 1, rowCount: 2 }))).toBe(
      'kernels/bad-size',
    );
    expect(codeOf(() => kernels.linear(rows, x, out, 1, { rowStart: -1, rowCount: 2 }))).toBe(
      'kernels/bad-size',
    );
    expect([...out]).toEqual([0, 0, 0, 0]);
  });

  it('refuses a weight of another arena', () => {
    const other = new Kernels(Arena.create({ maximumBytes: 1 << 20 }));
    const weight = other.pack(small);
    expect(codeOf(() => kernels.linear(weight, new Float32Array(3), new Float32Array(2), 1))).toBe(
      'kernels/foreign-weight',
    );
  });

  it('counts calls, rows and multiply-adds', () => {
    const own = new Kernels(Arena.create({ maximumBytes: 1 << 20 }));
    const weight = own.pack(small, { layout: 'rows' });
    own.linear(weight, new Float32Array(12), new Float32Array(8), 4);
    own.linear(weight, new Float32Array(3), new Float32Array(1), 1, { rowStart: 1 });
    own.linearTransposed(weight, new Float32Array(2), new Float32Array(3), 1);
    own.add(new Float32Array(1), new Float32Array(1), new Float32Array(1), 1);
    expect(own.stats).toEqual({ calls: 4, gemmRows: 6, gemmMacs: 24 + 3 + 6 });
  });

  it('keeps FP8 and BF16 weights close to their stored size', () => {
    const own = new Kernels(Arena.create({ maximumBytes: 1 << 20 }));
    const fp8 = own.pack({
      format: 'e4m3fn',
      rows: 64,
      cols: 192,
      data: new Uint8Array(64 * 192),
      scales: new Float32Array(2),
    });
    expect(fp8.sizeBytes).toBe(64 * 192 + 8);
    const odd = own.pack({ format: 'bf16', rows: 44, cols: 25, data: new Uint16Array(44 * 25) });
    expect(odd.sizeBytes).toBe(48 * 25 * 2);
  });

  it('allocates nothing in the arena but weights', () => {
    const own = new Kernels(Arena.create({ maximumBytes: 1 << 20 }));
    const weight = own.pack(small);
    const used = own.arena.usedBytes;
    own.linear(weight, new Float32Array(300), new Float32Array(200), 100);
    own.gemm(new Float32Array(100), new Float32Array(100), new Float32Array(100), { m: 10, n: 10, k: 10 });
    expect(own.arena.usedBytes).toBe(used);
  });

  it('works with a scratch array on an attached arena', () => {
    const owner = Arena.create({ maximumBytes: 1 << 20, shared: true });
    const scratch = owner.u8(1 << 18);
    const x = owner.f32(64).fill(1);
    const out = owner.f32(64);
    const attached = Arena.attach(owner.memory);
    const gemm = { m: 8, n: 8, k: 8 };
    const plain = new Kernels(attached);
    plain.add(x, x, out, 64);
    expect(out[63]).toBe(2);
    expect(codeOf(() => plain.gemm(x, x, out, gemm))).toBe('kernels/no-scratch');
    const equipped = new Kernels(attached, { scratch: attached.view(owner.handle(scratch), 'u8') });
    equipped.gemm(x, x, out, gemm);
    expect(out.every((value) => value === 8)).toBe(true);
    expect(codeOf(() => equipped.gemm(x, x, new Float32Array(1 << 17), gemm))).toBe('kernels/out-of-memory');
  });
});
