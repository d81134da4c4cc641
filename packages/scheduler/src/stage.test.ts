import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Stage } from './stage.js';

describe('Stage', () => {
  it('conserves blocks and seats: free + owned = total, each with one owner', () => {
    const move = fc.record({ slot: fc.nat(7), blocks: fc.nat(5) });
    fc.assert(
      fc.property(fc.array(move, { maxLength: 200 }), (moves) => {
        const stage = new Stage(
          0,
          { name: 'all', role: 'mixed', blocks: 12, tokenBudget: 1, maxSequences: 4 },
          { capacity: 8, blockSizeTokens: 2, tableStride: 12 },
        );
        const owned = new Map<number, number[]>();
        for (const { slot, blocks } of moves) {
          if (blocks === 0 || (!owned.has(slot) && !stage.hasSeat)) {
            stage.leave(slot);
            owned.delete(slot);
          } else {
            if (!owned.has(slot)) stage.sit(slot, 0);
            const count = Math.min(blocks, stage.freeBlocks);
            stage.grow(slot, count);
            const row = stage.seatOf[slot]! * stage.tableStride;
            owned.set(slot, [...stage.tables.subarray(row, row + stage.seatBlocks[stage.seatOf[slot]!]!)]);
          }
          const all = [...owned.values()].flat();
          expect(new Set(all).size).toBe(all.length);
          expect(all.every((block) => block >= 0 && block < 12)).toBe(true);
          expect(stage.freeBlocks + all.length).toBe(12);
          expect(stage.running).toBe(owned.size);
          expect(new Set([...owned.keys()].map((key) => stage.seatOf[key])).size).toBe(owned.size);
        }
      }),
      { seed: 20_250_104, numRuns: 300 },
    );
  });

  it('counts the blocks that a request lacks', () => {
    const stage = new Stage(
      0,
      { name: 'all', role: 'mixed', blocks: 12, tokenBudget: 1, maxSequences: 4 },
      { capacity: 8, blockSizeTokens: 4, tableStride: 12 },
    );
    expect([0, 1, 4, 5].map((tokens) => stage.lacking(3, tokens))).toEqual([0, 1, 1, 2]);
    stage.sit(3, 0);
    stage.grow(3, 2);
    expect([1, 8, 9].map((tokens) => stage.lacking(3, tokens))).toEqual([0, 0, 1]);
  });
});
