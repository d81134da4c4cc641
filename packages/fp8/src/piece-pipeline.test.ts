import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PIPELINE_SLOTS, runPieces } from './piece-pipeline.js';

/** Resolves after `turns` turns of the event loop. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

test('pieces pass every stage in order, and no slot holds two at once', async () => {
  const delays = fc.array(fc.tuple(fc.nat(3), fc.nat(3)), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(delays, async (list) => {
      const converted: number[] = [];
      const written = new Set<number>();
      const holders: (number | undefined)[] = [];
      let underWay = 0;
      await runPieces(list.length, {
        read: async (piece, slot) => {
          expect(holders[slot]).toBeUndefined();
          holders[slot] = piece;
          underWay++;
          expect(underWay).toBeLessThanOrEqual(PIPELINE_SLOTS);
          await turns(list[piece]![0]);
        },
        convert: (piece, slot) => {
          expect(holders[slot]).toBe(piece);
          converted.push(piece);
        },
        write: async (piece, slot) => {
          await turns(list[piece]![1]);
          expect(holders[slot]).toBe(piece);
          holders[slot] = undefined;
          underWay--;
          written.add(piece);
        },
      });
      expect(converted).toEqual(list.map((_, piece) => piece));
      expect(written.size).toBe(list.length);
    }),
    { seed: 8, numRuns: 60 },
  );
});

test.each(['read', 'convert', 'write'] as const)(
  'a %s that fails ends the job once everything under way has ended',
  async (failing) => {
    let underWay = 0;
    const stage = async (name: string, piece: number, delay: number): Promise<void> => {
      underWay++;
      await turns(delay);
      underWay--;
      if (name === failing && piece === 3) throw new Error(name);
    };
    const seen: number[] = [];
    const running = runPieces(8, {
      read: (piece) => stage('read', piece, 1),
      convert: (piece) => {
        seen.push(piece);
        if (failing === 'convert' && piece === 3) throw new Error('convert');
      },
      write: (piece) => stage('write', piece, 3),
    });
    await expect(running).rejects.toThrow(failing);
    expect(underWay).toBe(0);
    expect(seen.length).toBeLessThan(8);
  },
);
