import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SegmentHeap } from './heap.js';

const START = 4096;
const END = START + 64 * 1024;

describe('SegmentHeap', () => {
  it('hands out zeroed, aligned ranges that never overlap, and gets all of them back', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 9000 })), { maxLength: 80 }),
        (steps) => {
          const memory = new ArrayBuffer(END + 4096);
          const bytes = new Uint8Array(memory);
          bytes.fill(7, 0, START);
          bytes.fill(7, END);
          const heap = new SegmentHeap(memory, START, END);
          const live: { address: number; size: number }[] = [];
          for (const [free, amount] of steps) {
            if (free && live.length > 0) {
              const [block] = live.splice(amount % live.length, 1);
              expect(heap.release(block?.address ?? -1)).toBe(true);
              continue;
            }
            let address: number;
            try {
              address = heap.allocate(amount);
            } catch (error) {
              expect(error).toMatchObject({ code: 'collectives/out-of-memory' });
              expect(heap.freeBytes().largest).toBeLessThan(Math.max(1, amount));
              continue;
            }
            expect(address % 128).toBe(0);
            expect(address).toBeGreaterThanOrEqual(START);
            expect(address + amount).toBeLessThanOrEqual(END);
            expect(bytes.subarray(address, address + amount).every((byte) => byte === 0)).toBe(true);
            for (const other of live)
              expect(address + amount <= other.address || other.address + other.size <= address).toBe(true);
            bytes.fill(255, address, address + amount);
            live.push({ address, size: amount });
          }
          for (const { address } of live) heap.release(address);
          expect(heap.usedBytes).toBe(0);
          expect(heap.freeBytes()).toEqual({ total: END - START, largest: END - START });
        },
      ),
      { numRuns: 150, seed: 21 },
    );
  });

  it('says what is left when a request does not fit, and refuses senseless sizes', () => {
    const heap = new SegmentHeap(new ArrayBuffer(END), START, END);
    heap.allocate(1000);
    expect(() => heap.allocate(64 * 1024)).toThrow(/expected 65536 free bytes in one piece .*, got 64512/);
    expect(() => heap.allocate(-1)).toThrow('got -1');
    expect(() => heap.allocate(Number.NaN)).toThrow('got NaN');
    expect(heap.release(12345)).toBe(false);
  });
});
