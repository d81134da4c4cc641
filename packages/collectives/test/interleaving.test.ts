import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  algorithmsOf,
  createLoopback,
  type NamedAlgorithm,
  type Plan,
  type PlanRequest,
  supports,
} from '../src/index.js';

type Kind = 'allReduce' | 'allGather' | 'allToAll' | 'broadcast' | 'barrier';

interface Job {
  readonly kind: Kind;
  readonly algorithm: NamedAlgorithm;
  readonly count: number;
}

function request({ kind, algorithm, count }: Job, size: number): PlanRequest {
  switch (kind) {
    case 'allReduce':
      return { op: kind, algorithm, dtype: 'i32', count };
    case 'allGather':
      return { op: kind, algorithm, dtype: 'i32', counts: count };
    case 'allToAll':
      return { op: kind, algorithm, dtype: 'i32', sendCounts: count, receiveCounts: count };
    case 'broadcast':
      return { op: kind, algorithm, dtype: 'i32', count, root: count % size };
    default:
      return { op: kind, algorithm };
  }
}

function expected(job: Job, index: number, size: number): number[] {
  const ranks = Array.from({ length: size }, (_, rank) => rank + index * 100);
  const repeat = (value: number): number[] => new Array<number>(job.count).fill(value);
  switch (job.kind) {
    case 'allReduce':
      return repeat(ranks.reduce((a, b) => a + b));
    case 'allGather':
    case 'allToAll':
      return ranks.flatMap(repeat);
    case 'broadcast':
      return repeat(ranks[job.count % size] as number);
    default:
      return [];
  }
}

const jobs = fc.array(
  fc.constantFrom<Kind>('allReduce', 'allGather', 'allToAll', 'broadcast', 'barrier').chain((kind) =>
    fc.record({
      kind: fc.constant(kind),
      algorithm: fc.constantFrom(...algorithmsOf[kind]),
      count: fc.integer({ min: 0, max: 9 }),
    }),
  ),
  { minLength: 1, maxLength: 5 },
);

describe('plans that are active at the same time', () => {
  it('give the right result in whatever order ranks start and poll them', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), jobs, fc.nat(), (size, chosen, seed) => {
        let state = seed;
        const next = (limit: number): number => {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
          return Math.floor((state / 2 ** 32) * limit);
        };
        const ranks = createLoopback(size);
        const usable = chosen.filter((job) =>
          supports(job.kind, job.algorithm, (ranks[0] as (typeof ranks)[0]).topology),
        );
        const pending: { plan: Plan; job: Job; index: number; started: boolean }[] = [];
        usable.forEach((job, index) => {
          for (const comm of ranks) {
            const plan = comm.plan(request(job, size));
            plan.input.fill(comm.rank + index * 100);
            if (job.kind === 'broadcast') plan.output.fill(comm.rank + index * 100);
            pending.push({ plan, job, index, started: false });
          }
        });
        const all = [...pending];
        for (let polls = 0; pending.length > 0; polls++) {
          expect(polls).toBeLessThan(100_000);
          const at = next(pending.length);
          const entry = pending[at] as (typeof pending)[0];
          if (!entry.started) {
            entry.plan.start();
            entry.started = true;
          } else if (entry.plan.test()) {
            pending.splice(at, 1);
          }
        }
        for (const { plan, job, index } of all) expect([...plan.output]).toEqual(expected(job, index, size));
      }),
      { seed: 10, numRuns: 200 },
    );
  });
});
