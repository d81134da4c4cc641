import { planDispatch } from '@moestack/routing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createReplicaSelector,
  type Deployment,
  initialPlan,
  type Load,
  type Plan,
  planFromSlots,
  rebalance,
  reportPlan,
} from '../src/index.js';
import { eplbCases } from './placement-cases.js';

const EXPERTS = 32;
const deployment: Deployment = { nodes: 4, gpus: 8, replicas: 40, groups: 8 };

const loads = fc
  .array(fc.nat(1000), { minLength: EXPERTS, maxLength: EXPERTS })
  .map((counts): Load => ({ layers: 1, experts: EXPERTS, counts: Float64Array.from(counts) }));

/** Selections of tokens that keep to half of the groups, four experts each. */
const batches = fc
  .array(fc.tuple(fc.subarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 4, maxLength: 4 }), fc.nat(1e6)), {
    minLength: 1,
    maxLength: 40,
  })
  .map((tokens) =>
    Int32Array.from(
      tokens.flatMap(([groups, seed]) => groups.map((g, i) => g * 4 + ((seed >> (2 * i)) & 3))),
    ),
  );

/** Distinct (token, node) pairs off the source node: what a dispatch that sends once a node copies between nodes. */
function nodeCopies(plan: Plan, ids: Int32Array, policy: 'roundRobin' | 'localFirst'): number {
  const slots = new Int32Array(ids.length);
  createReplicaSelector(plan, { policy }).selectInto(0, ids, slots);
  const topology = { slots: 40, ranks: 8, nodes: 4 };
  const dispatch = planDispatch(slots, ids.length / 4, { topK: 4, topology });
  return dispatch.nodePairs - dispatch.tokensPerNode[0]!;
}

describe('localityBudget 0', () => {
  it.each(['optimal', 'incremental'] as const)(
    'never raises traffic between nodes when %s rearranges',
    (policy) => {
      fc.assert(
        fc.property(loads, loads, batches, (before, after, ids) => {
          const previous = rebalance(before, deployment);
          const next = rebalance(after, deployment, { policy, previous });
          for (const selection of ['roundRobin', 'localFirst'] as const) {
            expect(nodeCopies(next, ids, selection)).toBeLessThanOrEqual(
              nodeCopies(previous, ids, selection),
            );
          }
        }),
        { seed: 61, numRuns: 150 },
      );
    },
  );

  it('keeps every expert on the nodes it is on, whatever the previous plan', () => {
    const slots = fc.array(fc.nat(EXPERTS - 1), { minLength: 8, maxLength: 8 });
    const nodesOf = (plan: Plan): string[] =>
      Array.from({ length: EXPERTS }, (_, e) =>
        [
          ...new Set(
            [...plan.physicalToLogical.keys()]
              .filter((s) => plan.physicalToLogical[s] === e)
              .map((s) => Math.floor(s / 10)),
          ),
        ].join(),
      );
    fc.assert(
      fc.property(
        slots,
        loads,
        fc.constantFrom('optimal' as const, 'incremental' as const),
        (extra, load, policy) => {
          const base = [...Array(EXPERTS).keys(), ...extra];
          const turned = base.map((_, i) => base[(i * 7 + extra[0]!) % 40]!);
          const previous = planFromSlots(turned, { layers: 1, experts: EXPERTS, deployment });
          const next = rebalance(load, deployment, { policy, previous, localityBudget: 0 });
          expect(nodesOf(next)).toEqual(nodesOf(previous));
        },
      ),
      { seed: 62, numRuns: 150 },
    );
  });
});

describe('localityBudget', () => {
  it('trades balance for copies, within what is allowed', () => {
    const { load, deployment: wide } = eplbCases.find((c) => c.name === 'prefill_grouped')!;
    const part = { ...load, layers: 8, counts: load.counts.slice(0, 8 * 256) };
    const [local, some, any] = [0, 0.1, 1].map((localityBudget) =>
      reportPlan(part, rebalance(part, wide, { localityBudget })),
    ) as [ReturnType<typeof reportPlan>, ReturnType<typeof reportPlan>, ReturnType<typeof reportPlan>];
    expect(some.internodeCopies).toBeLessThanOrEqual(local.internodeCopies * 1.1);
    expect(any.internodeCopies).toBeGreaterThan(local.internodeCopies * 1.1);
    expect(any.balance.ratioOfSums).toBeGreaterThan(local.balance.ratioOfSums + 0.05);
    expect(local.gap).toBeLessThan(0.0015);
  });

  it('keeps groups together where they do not divide over the nodes', () => {
    const { load, deployment: wide } = eplbCases.find((c) => c.name === 'decode_ep144')!;
    const part = { ...load, layers: 3, counts: load.counts.slice(0, 3 * 256) };
    const spread = reportPlan(part, rebalance(part, wide, { localityBudget: 0 }));
    const free = reportPlan(part, rebalance(part, wide));
    expect(spread.internodeCopies).toBeLessThan(free.internodeCopies * 0.9);
    expect(spread.duplicates).toBe(0);
  });

  it('counts the copies of even load by the closed form', () => {
    const even = { layers: 1, experts: EXPERTS, counts: new Float64Array(EXPERTS).fill(1) };
    const plan = rebalance(even, { ...deployment, replicas: 32 });
    // Four of eight groups, two on each node, eight draws: a drawn set gives shares by node, summed by hand.
    const report = reportPlan(even, plan, { topK: 1, topKGroups: 4 });
    expect(report.internodeCopies).toBeCloseTo(0.75, 6);
    const single = reportPlan(even, initialPlan(1, EXPERTS, { nodes: 1, gpus: 8, replicas: 40 }));
    expect(single.internodeCopies).toBe(0);
  });
});
