import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockIndex } from './block-index.js';
import { BlockPool } from './block-pool.js';

describe('BlockIndex', () => {
  it('behaves like a map, also full and with keys beyond 32 bits', () => {
    const keys = fc.oneof(
      fc.nat(40),
      fc.integer({ min: 2 ** 40, max: 2 ** 40 + 20 }),
      fc.constant(2 ** 53 - 1),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(keys, fc.boolean()), { maxLength: 200 }), (moves) => {
        const index = new BlockIndex(16);
        const map = new Map<number, number>();
        for (const [key, adds] of moves) {
          if (map.has(key)) {
            if (adds) continue;
            map.delete(key);
            index.remove(key);
          } else if (map.size < 16) {
            map.set(key, map.size);
            index.add(key, map.get(key)!);
          }
          for (const [known] of moves) expect(index.get(known)).toBe(map.get(known) ?? -1);
        }
      }),
      { seed: 20_250_110, numRuns: 150 },
    );
  });
});

describe('BlockPool', () => {
  it('keeps prefixes of given blocks until others need them, the least recent first', () => {
    const pool = new BlockPool(4, true);
    const blocks = [pool.take(), pool.take(), pool.take()];
    expect(blocks).toEqual([0, 1, 2]);
    for (const block of blocks) pool.remember(block, 100 + block);
    for (const block of [2, 1, 0]) pool.give(block);
    expect([pool.free, pool.idle]).toEqual([4, 3]);
    expect(pool.find(Float64Array.of(100, 101, 7), 3)).toBe(2);
    expect(pool.foundIdle).toBe(2);
    expect(pool.hold(100)).toBe(0);
    expect(pool.hold(100)).toBe(0);
    expect([pool.take(), pool.take()]).toEqual([3, 2]);
    expect([pool.free, pool.evictions]).toEqual([1, 1]);
    pool.give(0);
    expect(pool.free).toBe(1);
    pool.give(0);
    expect([pool.free, pool.idle]).toEqual([2, 2]);
    pool.clear();
    expect([pool.free, pool.idle, pool.find(Float64Array.of(100), 1)]).toEqual([2, 0, 0]);
  });

  it('keeps the first of two blocks with one prefix, and forgets what is distrusted', () => {
    const pool = new BlockPool(3, true);
    const [a, b] = [pool.take(), pool.take()];
    pool.remember(a, 5);
    pool.remember(b, 5);
    pool.give(b);
    expect([pool.free, pool.idle]).toEqual([2, 0]);
    pool.distrust(a);
    pool.give(a);
    expect([pool.free, pool.idle, pool.find(Float64Array.of(5), 1)]).toEqual([3, 0, 0]);
  });
});
