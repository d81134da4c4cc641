import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WaitingQueue } from './waiting-queue.js';

describe('WaitingQueue', () => {
  it('orders like a sorted list under pushes, removals and returns to the front', () => {
    const move = fc.record({
      slot: fc.nat(15),
      priority: fc.integer({ min: -1, max: 1 }),
      front: fc.boolean(),
      pop: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(move, { maxLength: 200 }), (moves) => {
        const queue = new WaitingQueue(16);
        const list: { slot: number; priority: number }[] = [];
        const drop = (slot: number): void => {
          queue.remove(slot);
          list.splice(
            list.findIndex((item) => item.slot === slot),
            1,
          );
        };
        for (const { slot, priority, front, pop } of moves) {
          if (pop && list.length > 0) drop(list[0]!.slot);
          else if (list.some((item) => item.slot === slot)) drop(slot);
          else if (front) {
            queue.pushFront(slot, priority);
            const at = list.findIndex((item) => item.priority <= priority);
            list.splice(at < 0 ? list.length : at, 0, { slot, priority });
          } else {
            queue.pushBack(slot, priority);
            const at = list.findIndex((item) => item.priority < priority);
            list.splice(at < 0 ? list.length : at, 0, { slot, priority });
          }
          expect([queue.size, queue.peek()]).toEqual([list.length, list[0]?.slot ?? -1]);
        }
      }),
      { seed: 20_250_105, numRuns: 300 },
    );
  });
});
