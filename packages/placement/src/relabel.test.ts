import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assign } from './assignment.js';
import { MigrationCounter } from './migration-count.js';
import { checkDeployment } from './operands.js';
import { Relabeller } from './relabel.js';

function permutations(n: number): number[][] {
  if (n === 0) return [[]];
  return permutations(n - 1).flatMap((p) =>
    Array.from({ length: n }, (_, i) => [...p.slice(0, i), n - 1, ...p.slice(i)]),
  );
}

describe('assign', () => {
  it('finds the assignment of highest value', () => {
    const all = permutations(5);
    fc.assert(
      fc.property(fc.array(fc.nat(6), { minLength: 25, maxLength: 25 }), (values) => {
        const total = (columns: ArrayLike<number>): number => {
          let sum = 0;
          for (let i = 0; i < 5; i++) sum += values[i * 5 + columns[i]!]!;
          return sum;
        };
        const columns = assign(Int32Array.from(values), 5);
        expect(new Set(columns).size).toBe(5);
        expect(total(columns)).toBe(Math.max(...all.map(total)));
      }),
      { seed: 93 },
    );
  });
});

describe('Relabeller', () => {
  const sizes = checkDeployment(1, 6, { nodes: 2, gpus: 4, replicas: 12 });
  const slots = fc.array(fc.nat(5), { minLength: 12, maxLength: 12 }).map((row) => Int32Array.from(row));
  const gpus = (row: Int32Array): string[] =>
    [0, 3, 6, 9].map((first) => [...row.subarray(first, first + 3)].sort().join()).sort();

  it.each([true, false])(
    'keeps what shares a GPU, and moves no more where nodes stay, nodes movable: %s',
    (mayMoveNodes) => {
      const relabeller = new Relabeller(sizes, mayMoveNodes);
      const counter = new MigrationCounter(sizes);
      fc.assert(
        fc.property(slots, slots, (before, after) => {
          const relabelled = after.slice();
          relabeller.relabel(before, relabelled, 0);
          expect(gpus(relabelled)).toEqual(gpus(after));
          if (mayMoveNodes) return;
          // Whole nodes are matched first, which can cost a little; within nodes the matching is optimal.
          const received = (row: Int32Array): number => counter.count(before, row, 0, 1, 1).received;
          expect(received(relabelled)).toBeLessThanOrEqual(received(after));
        }),
        { seed: 94, numRuns: 300 },
      );
    },
  );
});
