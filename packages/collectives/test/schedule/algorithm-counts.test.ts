import { readFixtureJson } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import type { CollectiveOp } from '../../src/communicator/communicator.js';
import { uniformTopology } from '../../src/communicator/topology.js';
import { createSchedule, type NamedAlgorithm, totalsOf } from '../../src/schedule/create-schedule.js';

interface Counts {
  readonly rounds: number;
  readonly bytes_sent_per_rank?: number;
  readonly reduced_bytes_per_rank?: number;
  readonly blocks_per_round?: number[];
  readonly total_messages?: number;
  readonly total_bytes?: number;
  readonly root_bytes_sent?: number;
  readonly messages_per_rank?: number;
}

const { rows } = readFixtureJson<{ rows: { n: number; N: number; algorithms: Record<string, Counts> }[] }>(
  'collectives/algorithm_counts.json',
);

const names: Readonly<Record<string, readonly [CollectiveOp, NamedAlgorithm]>> = {
  'allreduce/ring': ['allReduce', 'ring'],
  'reduce_scatter/ring': ['reduceScatter', 'ring'],
  'allgather/ring': ['allGather', 'ring'],
  'alltoall/pairwise': ['allToAll', 'pairwise'],
  'alltoall/bruck': ['allToAll', 'bruck'],
  'allgather/bruck': ['allGather', 'bruck'],
  'broadcast/binomial': ['broadcast', 'binomial'],
  'barrier/dissemination': ['barrier', 'dissemination'],
  'allreduce/recursive_doubling': ['allReduce', 'recursive-doubling'],
  'allreduce/halving_doubling': ['allReduce', 'halving-doubling'],
  'reduce_scatter/recursive_halving': ['reduceScatter', 'halving-doubling'],
  'allgather/recursive_doubling': ['allGather', 'recursive-doubling'],
};

describe('rounds and bytes of each algorithm', () => {
  for (const { n, N, algorithms } of rows) {
    for (const [name, counts] of Object.entries(algorithms)) {
      it(`${name} of ${n} ranks`, () => {
        const [op, algorithm] = names[name] as readonly [CollectiveOp, NamedAlgorithm];
        const whole = N / 4;
        const block = whole / n;
        const perRank = op === 'allReduce' || op === 'broadcast' ? [whole] : new Array<number>(n).fill(block);
        const schedules = Array.from({ length: n }, (_, rank) =>
          createSchedule({
            op,
            algorithm,
            rank,
            topology: uniformTopology(1, n),
            counts: op === 'allToAll' ? [block] : op === 'barrier' ? [] : perRank,
          }),
        );
        const totals = schedules.map(totalsOf);
        expect(Math.max(...totals.map((total) => total.rounds))).toBe(counts.rounds);
        for (const total of totals) {
          if (counts.bytes_sent_per_rank !== undefined)
            expect(total.bytesSent).toBe(counts.bytes_sent_per_rank);
          if (counts.reduced_bytes_per_rank !== undefined) {
            expect(total.reducedBytes).toBe(counts.reduced_bytes_per_rank);
          }
          if (counts.messages_per_rank !== undefined)
            expect(total.messagesSent).toBe(counts.messages_per_rank);
        }
        if (counts.blocks_per_round !== undefined) {
          const sent = schedules[0]?.rounds.flatMap((round) =>
            round.sends.map((step) => step.source.bytes / 4 / block),
          );
          expect(sent).toEqual(counts.blocks_per_round);
        }
        if (counts.total_messages !== undefined) {
          expect(totals.reduce((sum, total) => sum + total.messagesSent, 0)).toBe(counts.total_messages);
          expect(totals.reduce((sum, total) => sum + total.bytesSent, 0)).toBe(counts.total_bytes);
          expect(totals[0]?.bytesSent).toBe(counts.root_bytes_sent);
        }
      });
    }
  }
});
