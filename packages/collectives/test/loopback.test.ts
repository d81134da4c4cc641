import { describe, expect, it } from 'vitest';
import {
  CollectivesError,
  createLoopback,
  createTopology,
  runTogether,
  uniformTopology,
} from '../src/index.js';
import { casesFor, runCase } from './contract-suite/index.js';

const groups = [
  { ranks: 1, topology: uniformTopology(1, 1) },
  { ranks: 2, topology: uniformTopology(1, 2) },
  { ranks: 4, topology: uniformTopology(2, 2) },
  { ranks: 7, topology: createTopology([0, 0, 0, 1, 1, 2, 0]) },
];

describe.each(groups)('loopback transport, $ranks ranks on $topology.nodes nodes', ({ ranks, topology }) => {
  it.each(casesFor(ranks, { breaking: true }).map((entry) => [entry.name, entry] as const))(
    '%s',
    async (_, entry) => {
      const communicators = createLoopback(ranks, { topology });
      const results = await Promise.allSettled(communicators.map((comm) => runCase(comm, entry)));
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    },
  );
});

describe('runTogether', () => {
  it('runs plans of all ranks without promises', () => {
    const ranks = createLoopback(3);
    const plans = ranks.map((comm) =>
      comm.plan({ op: 'allReduce', dtype: 'f32', count: 4, algorithm: 'ring' }),
    );
    for (let run = 0; run < 3; run++) {
      plans.forEach((plan, rank) => {
        plan.input.fill(rank + run);
      });
      runTogether(plans);
      for (const plan of plans)
        expect([...plan.output]).toEqual([3 + 3 * run, 3 + 3 * run, 3 + 3 * run, 3 + 3 * run]);
    }
  });

  it('says so when a rank is missing instead of spinning', () => {
    const ranks = createLoopback(3);
    const plans = ranks.map((comm) => comm.plan({ op: 'barrier' }));
    expect(() => runTogether(plans.slice(1))).toThrow(
      expect.objectContaining({ code: 'collectives/would-block' }),
    );
  });

  it('reports a mismatch before any byte moves', () => {
    const [a, b] = createLoopback(2);
    const plans = [a?.plan({ op: 'allReduce', dtype: 'f32', count: 4, algorithm: 'ring' }), undefined];
    expect(() => b?.plan({ op: 'allReduce', dtype: 'f32', count: 5, algorithm: 'ring' })).toThrow(
      CollectivesError,
    );
    plans[0]?.start();
    expect(() => plans[0]?.test()).toThrow(expect.objectContaining({ code: 'collectives/mismatch' }));
  });
});
