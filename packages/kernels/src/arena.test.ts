import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Arena, MAXIMUM_ARENA_BYTES } from './arena.js';
import { KernelsError, OutOfMemoryError } from './errors.js';
import { Kernels } from './kernels.js';

function thrown(body: () => unknown): KernelsError {
  try {
    body();
  } catch (error) {
    if (KernelsError.isInstance(error)) return error;
    throw error;
  }
  return expect.fail('expected an error');
}

describe('Arena', () => {
  it('hands out aligned, zeroed, disjoint views, also where memory was used before', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 30 }), (lengths) => {
        const arena = Arena.create({ maximumBytes: 1 << 20 });
        for (let round = 0; round < 2; round++) {
          arena.scope(() => {
            let end = 0;
            for (const [i, length] of lengths.entries()) {
              const kinds = [
                () => arena.f32(length),
                () => arena.i32(length),
                () => arena.u8(length),
                () => arena.u16(length),
                () => arena.u32(length),
              ];
              const view = kinds[i % 5]!();
              expect(view.byteOffset % 64).toBe(0);
              expect(view.byteOffset).toBeGreaterThanOrEqual(end);
              expect(view.every((value) => value === 0)).toBe(true);
              expect(arena.owns(view)).toBe(true);
              end = view.byteOffset + view.byteLength;
              view.fill(1);
            }
          });
        }
      }),
      { numRuns: 30, seed: 1 },
    );
  });

  it('hands out zeros where kernels had their working space', () => {
    const arena = Arena.create({ maximumBytes: 1 << 20 });
    const kernels = new Kernels(arena);
    kernels.siluMul(
      new Float32Array(5000).fill(1),
      new Float32Array(5000).fill(1),
      new Float32Array(5000),
      5000,
    );
    expect(arena.f32(20_000).every((value) => value === 0)).toBe(true);
  });

  it('frees by mark and by scope, also when the body throws', () => {
    const arena = Arena.create({ maximumBytes: 1 << 16 });
    const before = arena.usedBytes;
    const mark = arena.mark();
    arena.f32(100);
    expect(arena.usedBytes).toBe(before + 448);
    arena.release(mark);
    expect(() =>
      arena.scope(() => {
        arena.f32(10);
        throw new Error('body');
      }),
    ).toThrow('body');
    expect(arena.usedBytes).toBe(before);
    expect(thrown(() => arena.release(before + 64)).code).toBe('kernels/bad-mark');
  });

  it('names what was asked for and what is free when it runs out', () => {
    const arena = Arena.create({ maximumBytes: 1 << 16 });
    const error = thrown(() => arena.f32(1 << 16));
    expect(OutOfMemoryError.isInstance(error)).toBe(true);
    expect(error.code).toBe('kernels/out-of-memory');
    expect(error.value).toEqual({ requestedBytes: 1 << 18, freeBytes: arena.freeBytes });
    expect(arena.f32(arena.freeBytes / 4).length).toBeGreaterThan(16_000);
    expect(arena.freeBytes).toBe(0);
  });

  it('refuses more than 32-bit memory, naming the size and the number of ranks', () => {
    const error = thrown(() => Arena.create({ maximumBytes: MAXIMUM_ARENA_BYTES + 1 }));
    expect(error.code).toBe('kernels/memory-limit');
    expect(error.message).toContain(String(MAXIMUM_ARENA_BYTES + 1));
    expect(error.remedy).toContain('at least 2');
    expect(thrown(() => Arena.create({ maximumBytes: 0 })).code).toBe('kernels/bad-size');
    expect(thrown(() => Arena.create({ maximumBytes: 1.5 })).code).toBe('kernels/bad-size');
  });

  it('reaches the top of the largest memory', () => {
    const arena = Arena.create({ maximumBytes: MAXIMUM_ARENA_BYTES });
    const kernels = new Kernels(arena);
    arena.u8(arena.freeBytes - (1 << 20));
    const x = arena.f32(100).fill(2);
    const out = arena.f32(100);
    kernels.add(x, x, out, 100);
    expect(out.every((value) => value === 4)).toBe(true);
    const weight = kernels.pack({ format: 'f32', rows: 3, cols: 100, data: new Float32Array(300).fill(1) });
    kernels.linear(weight, x, out, 1);
    expect([...out.subarray(0, 3)]).toEqual([200, 200, 200]);
  });

  it('turns handles into the same bytes on an attached arena, which cannot allocate', () => {
    const arena = Arena.create({ maximumBytes: 1 << 16, shared: true });
    expect(arena.shared).toBe(true);
    const view = arena.f32(8).fill(3);
    const other = Arena.attach(arena.memory);
    expect([...other.view(arena.handle(view), 'f32')]).toEqual([3, 3, 3, 3, 3, 3, 3, 3]);
    expect(other.view(arena.handle(view), 'u16').length).toBe(16);
    expect(thrown(() => other.f32(1)).code).toBe('kernels/not-owner');
    expect(thrown(() => other.view({ memory: arena.memory, byteOffset: 1026, length: 4 }, 'f32')).code).toBe(
      'kernels/bad-handle',
    );
    expect(
      thrown(() => other.view({ memory: arena.memory, byteOffset: 1 << 16, length: 4 }, 'u8')).code,
    ).toBe('kernels/bad-handle');
    expect(thrown(() => arena.handle(new Float32Array(1))).code).toBe('kernels/foreign-view');
  });
});
