import { reference } from '@moestack/kernels';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { viewAs } from '../communicator/dtype.js';
import { RankMemory } from './rank-memory.js';

describe('RankMemory', () => {
  it('reduces to the bits of the scalar reference, wherever the operands lie', () => {
    const memory = new RankMemory(4 << 20);
    fc.assert(
      fc.property(
        fc.constantFrom('f32', 'bf16', 'f16', 'i32' as const),
        fc.constantFrom('sum', 'max', 'min' as const),
        fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
        fc.constantFrom(0, 4, 20, 65532, 65536, 200_000),
        fc.nat(),
        (dtype, reduction, inside, bytes, seed) => {
          const [target, left, right] = inside.map((within) =>
            within ? memory.allocate(bytes) : new Uint8Array(bytes),
          ) as [Uint8Array, Uint8Array, Uint8Array];
          for (let index = 0; index < bytes; index++) {
            left[index] = Math.imul(index + seed, 2654435761) >>> 13;
            right[index] = Math.imul(index ^ seed, 2246822519) >>> 11;
          }
          const expected = new Uint8Array(bytes);
          const out = viewAs(dtype, expected) as Float32Array;
          const [a, b] = [left, right].map((view) => viewAs(dtype, view.slice()) as Float32Array) as [
            Float32Array,
            Float32Array,
          ];
          reference.reduce(dtype, reduction, a, b, out, out.length);
          memory.bindReduction(dtype, reduction, target, left, right).run();
          expect(Buffer.compare(target, expected)).toBe(0);
          for (const region of [target, left, right]) memory.release(region);
        },
      ),
      { seed: 6, numRuns: 120 },
    );
  });

  it('gives ordinary memory when it is full, and takes released memory again', () => {
    const memory = new RankMemory(1 << 20);
    const first = memory.allocate(900_000);
    const second = memory.allocate(900_000);
    expect(second.buffer).not.toBe(first.buffer);
    first.fill(1);
    memory.release(first);
    memory.release(second);
    const third = memory.allocate(900_000);
    expect(third.buffer).toBe(first.buffer);
    expect(third.every((value) => value === 0)).toBe(true);
  });
});
