import { createHash } from 'node:crypto';
import { readFixtureJson } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  allocateDispatchPlan,
  createRouter,
  type DispatchPlan,
  meanFanOut,
  planDispatch,
  planDispatchInto,
  RoutingError,
} from '../src/index.js';
import { balanceCases, flat } from './balance-cases.js';

interface LayoutCase {
  name: string;
  config: { nodes: number; num_ranks: number; num_experts: number; num_topk: number; node_limit: number };
  num_tokens: number[];
  ranks: {
    topk_idx: string;
    num_tokens_per_rank: number[];
    num_tokens_per_rdma_rank: number[] | null;
    num_tokens_per_expert: number[];
    is_token_in_rank_sha256: string;
  }[];
}

const { cases } = readFixtureJson<{ cases: LayoutCase[] }>('routing-dispatch/layouts.json');

function idsOf(base64: string): Int32Array {
  return new Int32Array(Uint8Array.from(Buffer.from(base64, 'base64')).buffer);
}

describe('dispatch fixtures', () => {
  it.each(cases)('lays out $name', ({ config, num_tokens, ranks }) => {
    const topology = { slots: config.num_experts, ranks: config.num_ranks, nodes: config.nodes };
    const reused = allocateDispatchPlan({
      topology,
      topK: config.num_topk,
      maxTokens: Math.max(...num_tokens),
    });
    ranks.forEach((expected, r) => {
      const ids = idsOf(expected.topk_idx);
      const limit = config.node_limit === 0 ? {} : { maxNodes: config.node_limit };
      const plan = planDispatch(ids, num_tokens[r]!, { topK: config.num_topk, topology, ...limit });
      expect([...plan.tokensPerRank]).toEqual(expected.num_tokens_per_rank);
      if (expected.num_tokens_per_rdma_rank !== null) {
        expect([...plan.tokensPerNode]).toEqual(expected.num_tokens_per_rdma_rank);
      }
      expect([...plan.assignmentsPerSlot]).toEqual(expected.num_tokens_per_expert);
      expect(createHash('sha256').update(plan.isTokenInRank).digest('hex')).toBe(
        expected.is_token_in_rank_sha256,
      );
      planDispatchInto(ids, num_tokens[r]!, reused);
      expect(trimmed(reused)).toEqual(trimmed(plan));
    });
  });

  it.each(balanceCases)('spreads the tokens of $name over devices', ({ data }) => {
    const { dispatch } = data;
    const topology = { slots: data.E, ranks: dispatch.devices, nodes: 1 };
    const plan = planDispatch(flat(data.routed_sigmoid_indices), data.T, { topK: data.K, topology });
    expect([...plan.isTokenInRank]).toEqual(dispatch.is_token_in_rank.flat());
    expect([...plan.tokensPerRank]).toEqual(dispatch.tokens_per_rank);
    expect([...plan.assignmentsPerRank]).toEqual(dispatch.assignments_per_rank);
    expect(meanFanOut(plan).ranks).toBeCloseTo(dispatch.mean_devices_per_token, 12);
  });
});

/** What a plan says, without the room it has left. */
function trimmed(plan: DispatchPlan) {
  const { ranks, nodes } = plan.topology;
  return {
    ...plan,
    maxTokens: plan.tokens,
    isTokenInRank: plan.isTokenInRank.slice(0, plan.tokens * ranks),
    isTokenInNode: plan.isTokenInNode.slice(0, plan.tokens * nodes),
    rankTokens: plan.rankTokens.slice(0, plan.rankPairs),
    nodeTokens: plan.nodeTokens.slice(0, plan.nodePairs),
  };
}

const seeded = { seed: 20_250_102, numRuns: 200 };

describe('planDispatch', () => {
  it('agrees with sets of ranks and nodes for any ids', () => {
    fc.assert(
      fc.property(
        fc.record({
          nodes: fc.integer({ min: 1, max: 4 }),
          perNode: fc.integer({ min: 1, max: 4 }),
          perRank: fc.integer({ min: 1, max: 3 }),
          tokens: fc.integer({ min: 0, max: 12 }),
        }),
        fc.infiniteStream(fc.nat()),
        ({ nodes, perNode, perRank, tokens }, random) => {
          const ranks = nodes * perNode;
          const slots = ranks * perRank;
          const topK = 1 + (random.next().value! % Math.min(slots, 4));
          const ids = Int32Array.from(
            { length: tokens * topK },
            () => (random.next().value! % (slots + 1)) - 1,
          );
          const plan = planDispatch(ids, tokens, { topK, topology: { slots, ranks, nodes } });
          let pairs = 0;
          let widest = 0;
          for (let t = 0; t < tokens; t++) {
            const chosen = [...ids.subarray(t * topK, (t + 1) * topK)].filter((id) => id >= 0);
            const rankSet = new Set(chosen.map((id) => Math.floor(id / perRank)));
            const nodeSet = new Set([...rankSet].map((rank) => Math.floor(rank / perNode)));
            pairs += rankSet.size;
            widest = Math.max(widest, nodeSet.size);
            for (let r = 0; r < ranks; r++) {
              expect(plan.isTokenInRank[t * ranks + r]).toBe(rankSet.has(r) ? 1 : 0);
              const list = [...plan.rankTokens.subarray(plan.rankOffsets[r], plan.rankOffsets[r + 1])];
              expect(list.includes(t)).toBe(rankSet.has(r));
              expect(list).toEqual([...new Set(list)].sort((a, b) => a - b));
            }
            for (let n = 0; n < nodes; n++) {
              const list = [...plan.nodeTokens.subarray(plan.nodeOffsets[n], plan.nodeOffsets[n + 1])];
              expect(list.includes(t)).toBe(nodeSet.has(n));
            }
          }
          expect(plan.rankPairs).toBe(pairs);
          expect(plan.maxNodesPerToken).toBe(widest);
          expect(plan.rankOffsets[ranks]).toBe(pairs);
          expect(plan.nodeOffsets[nodes]).toBe(plan.nodePairs);
          expect(plan.assignments).toBe(ids.filter((id) => id >= 0).length);
        },
      ),
      seeded,
    );
  });

  it('keeps tokens of a node-limited gate within its limit', () => {
    const router = createRouter({ experts: 32, topK: 6, groups: 8, topKGroups: 3, scoring: 'sigmoid' });
    const logits = Float32Array.from({ length: 200 * 32 }, (_, i) => Math.sin(i * i));
    const { indices } = router.route(logits, 200);
    const topology = { slots: 32, ranks: 16, nodes: 8 };
    const plan = planDispatch(indices, 200, { topK: 6, topology, maxNodes: 3 });
    expect(plan.maxNodesPerToken).toBeLessThanOrEqual(3);
  });

  it('refuses a token on too many nodes, and unknown slots, before it writes', () => {
    const topology = { slots: 8, ranks: 4, nodes: 4 };
    const plan = allocateDispatchPlan({ topology, topK: 3, maxTokens: 2 });
    planDispatchInto(Int32Array.of(0, 1, -1), 1, plan);
    const before = structuredClone(plan);
    expect(() => planDispatchInto(Int32Array.of(0, 1, -1, 0, 3, 7), 2, plan, { maxNodes: 2 })).toThrow(
      expect.objectContaining({ code: 'routing/node-limit', value: 3 }) as RoutingError,
    );
    expect(() => planDispatchInto(Int32Array.of(0, 1, 8), 1, plan)).toThrow(
      expect.objectContaining({ code: 'routing/bad-index', value: 8 }) as RoutingError,
    );
    expect(() => planDispatchInto(new Int32Array(9), 3, plan)).toThrow(RoutingError);
    expect(plan).toEqual(before);
  });

  it.each([[{ slots: 6, ranks: 4 }], [{ slots: 8, ranks: 4, nodes: 3 }], [{ slots: 0, ranks: 1 }]])(
    'refuses the topology %j',
    (topology) => {
      expect(() => planDispatch(new Int32Array(0), 0, { topK: 1, topology })).toThrow(RoutingError);
    },
  );
});
