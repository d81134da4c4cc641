import {
  type ClusterLinks,
  collectiveCost,
  type DispatchCostRequest,
  dispatchCost,
  expectedDistinctGroups,
  expectedFanout,
  expectedTokens,
  h800Normal,
  phaseCost,
  uniformTopology,
} from '@moestack/collectives/cost';
import { readFixtureJson } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import { GoldenCase } from '../moe/golden-case.js';
import { generator } from '../moe/random-routing.js';

const links: ClusterLinks = {
  intra: { alphaSeconds: 1e-6, bytesPerSecond: 100e9 },
  inter: { alphaSeconds: 5e-6, bytesPerSecond: 10e9 },
};

describe('fan-out', () => {
  it('without a node limit equals the closed form', () => {
    const { rows } = readFixtureJson<{
      rows: { num_experts: number; topk: number; groups: number; expected_distinct_groups: number }[];
    }>('collectives/expected_fanout.json');
    for (const row of rows) {
      const got = expectedDistinctGroups(row.num_experts, row.topk, row.groups);
      expect(got / row.expected_distinct_groups).toBeCloseTo(1, 12);
      const chain = expectedFanout({
        nodes: row.groups,
        ranksPerNode: 1,
        experts: row.num_experts,
        topK: row.topk,
      });
      expect(chain.nodes / row.expected_distinct_groups).toBeCloseTo(1, 12);
      expect(chain.ranks).toBeCloseTo(chain.nodes, 12);
    }
  });

  it('with a node limit equals a simulated gate', () => {
    const random = generator(3);
    const [nodes, ranksPerNode, experts, topK, nodeLimit] = [4, 2, 32, 6, 2];
    const trials = 40_000;
    let [seenNodes, seenRanks] = [0, 0];
    for (let trial = 0; trial < trials; trial++) {
      const scores = Array.from({ length: experts }, (_, expert) => ({ expert, score: random() })).sort(
        (a, b) => b.score - a.score,
      );
      const allowed = new Set<number>();
      for (const { expert } of scores) {
        if (allowed.size < nodeLimit) allowed.add(Math.floor(expert / 8));
      }
      const chosen = scores.filter(({ expert }) => allowed.has(Math.floor(expert / 8))).slice(0, topK);
      seenNodes += new Set(chosen.map(({ expert }) => Math.floor(expert / 8))).size;
      seenRanks += new Set(chosen.map(({ expert }) => Math.floor(expert / 4))).size;
    }
    const exact = expectedFanout({ nodes, ranksPerNode, experts, topK, nodeLimit });
    // Three standard errors: one token's counts have a standard deviation below 1.
    expect(Math.abs(exact.nodes - seenNodes / trials)).toBeLessThan(3 / Math.sqrt(trials));
    expect(Math.abs(exact.ranks - seenRanks / trials)).toBeLessThan(3 / Math.sqrt(trials));
  });
});

describe('dispatchCost', () => {
  const request: DispatchCostRequest = {
    topology: { nodes: 8, ranksPerNode: 8 },
    tokensPerRank: 128,
    experts: 256,
    topK: 8,
    nodeLimit: 4,
    hidden: 7168,
    payload: 'fp8',
    mode: 'hierarchical',
  };

  it('expects about the traffic that the dispatchers count', () => {
    const { copies, message_bytes } = new GoldenCase('v3-layout-8n8g').file.traffic;
    const sum = (counts: readonly number[]) => counts.reduce((a, b) => a + b, 0);
    for (const [mode, kind] of [
      ['direct', 'direct_per_rank'],
      ['hierarchical', 'hierarchical'],
      ['low-latency', 'direct_per_expert'],
    ] as const) {
      const expected = expectedTokens({ ...request, mode });
      const counted = copies[kind];
      // 8192 tokens of a random gate: a few per cent around the expectation.
      const near = (value: number, counts: readonly number[]) =>
        expect(Math.abs((value * 64) / sum(counts) - 1)).toBeLessThan(0.08);
      near(expected.self, counted.self);
      near(expected.intra, counted.intra_send);
      near(expected.inter, counted.inter_send);
    }
    expect(dispatchCost(request, h800Normal).dispatch.messageBytes).toBe(message_bytes['normal_fp8']);
    expect(dispatchCost(request, h800Normal).combine.messageBytes).toBe(message_bytes['normal_combine_bf16']);
  });

  it('makes the hierarchical mode cheaper where the network decides', () => {
    const direct = dispatchCost({ ...request, mode: 'direct' }, h800Normal);
    const hierarchical = dispatchCost(request, h800Normal);
    expect(direct.dispatch.bottleneck).toBe('inter');
    expect(hierarchical.dispatch.seconds).toBeLessThan(direct.dispatch.seconds * 0.6);
    expect(hierarchical.seconds).toBe(hierarchical.dispatch.seconds + hierarchical.combine.seconds);
  });

  it('charges shared network cards, busy ranks and measured fan-outs', () => {
    const one = dispatchCost(request, h800Normal).dispatch.seconds;
    expect(dispatchCost(request, { ...h800Normal, ranksPerNic: 4 }).dispatch.seconds).toBeCloseTo(
      4 * one,
      12,
    );
    expect(dispatchCost({ ...request, imbalance: 2 }, h800Normal).dispatch.seconds).toBeCloseTo(2 * one, 12);
    const fewer = dispatchCost({ ...request, fanout: { nodes: 1, ranks: 1 } }, h800Normal);
    expect(fewer.dispatch.tokens.inter).toBe(128 * (7 / 8));
  });

  it('adds links in low latency and takes the slower one else', () => {
    const tokens = { self: 10, intra: 20, inter: 30 };
    const intra = 1e-6 + (30 * 1000) / 100e9;
    const inter = 5e-6 + (30 * 1000) / 10e9;
    expect(phaseCost('low-latency', tokens, 1000, links).seconds).toBeCloseTo(intra + inter, 15);
    expect(phaseCost('direct', tokens, 1000, links).seconds).toBeCloseTo(inter, 15);
    const free = phaseCost('direct', { self: 10, intra: 0, inter: 0 }, 1000, {
      ...links,
      selfOnIntra: false,
    });
    expect(free.seconds).toBe(0);
  });

  it('refuses what makes no sense', () => {
    const bad: Partial<DispatchCostRequest>[] = [
      { experts: 100 },
      { topK: 0 },
      { topK: 129 },
      { imbalance: 0.5 },
      { hidden: 0 },
      { nodeLimit: 0 },
    ];
    for (const change of bad) {
      expect(() => dispatchCost({ ...request, ...change }, h800Normal)).toThrow(/expected/);
    }
    expect(() => dispatchCost(request, { ...links, inter: { alphaSeconds: 0, bytesPerSecond: 0 } })).toThrow(
      /links.inter.bytesPerSecond/,
    );
  });
});

describe('collectiveCost', () => {
  it('prices the published counts: rounds * alpha + bytes * beta + reduced * gamma', () => {
    type Counts = Record<
      string,
      { rounds: number; bytes_sent_per_rank?: number; reduced_bytes_per_rank?: number }
    >;
    const { rows } = readFixtureJson<{ rows: { n: number; N: number; algorithms: Counts }[] }>(
      'collectives/algorithm_counts.json',
    );
    const priced = [
      ['allreduce/ring', 'allReduce', 'ring'],
      ['allreduce/recursive_doubling', 'allReduce', 'recursive-doubling'],
      ['allreduce/halving_doubling', 'allReduce', 'halving-doubling'],
      ['reduce_scatter/ring', 'reduceScatter', 'ring'],
      ['reduce_scatter/recursive_halving', 'reduceScatter', 'halving-doubling'],
      ['allgather/ring', 'allGather', 'ring'],
      ['allgather/recursive_doubling', 'allGather', 'recursive-doubling'],
      ['allgather/bruck', 'allGather', 'bruck'],
      ['alltoall/pairwise', 'allToAll', 'pairwise'],
      ['alltoall/bruck', 'allToAll', 'bruck'],
      ['barrier/dissemination', 'barrier', 'dissemination'],
    ] as const;
    let compared = 0;
    for (const { n, N, algorithms } of rows) {
      for (const [name, op, algorithm] of priced) {
        const expected = algorithms[name];
        if (expected === undefined) continue;
        compared++;
        const counts =
          op === 'allReduce'
            ? [N]
            : op === 'allToAll'
              ? [N / n]
              : op === 'barrier'
                ? []
                : new Array<number>(n).fill(N / n);
        const cost = collectiveCost(
          { op, algorithm, topology: uniformTopology(1, n), elementBytes: 1, counts },
          { ...links, reduceBytesPerSecond: 2e9 },
        );
        const { totals } = cost.slowest;
        expect(totals.rounds, `${name} ${n}`).toBe(expected.rounds);
        if (expected.bytes_sent_per_rank !== undefined)
          expect(totals.bytesSent).toBe(expected.bytes_sent_per_rank);
        if (expected.reduced_bytes_per_rank !== undefined) {
          expect(totals.reducedBytes).toBe(expected.reduced_bytes_per_rank);
        }
        const seconds =
          expected.rounds * 1e-6 +
          (expected.bytes_sent_per_rank ?? 0) / 100e9 +
          (expected.reduced_bytes_per_rank ?? 0) / 2e9;
        expect(cost.seconds / seconds).toBeCloseTo(1, 9);
      }
    }
    expect(compared).toBeGreaterThan(70);
  });

  it('prices a broadcast by its busiest rank, the root', () => {
    const { rows } = readFixtureJson<{
      rows: {
        n: number;
        N: number;
        algorithms: Record<string, { rounds: number; root_bytes_sent?: number }>;
      }[];
    }>('collectives/algorithm_counts.json');
    for (const { n, N, algorithms } of rows) {
      const expected = algorithms['broadcast/binomial']!;
      const cost = collectiveCost(
        {
          op: 'broadcast',
          algorithm: 'binomial',
          topology: uniformTopology(1, n),
          elementBytes: 1,
          counts: [N],
        },
        links,
      );
      const root = cost.ranks.find(({ rank }) => rank === 0)!;
      expect(root.totals.bytesSent).toBe(expected.root_bytes_sent);
      expect(root.totals.rounds).toBe(expected.rounds);
      expect(cost.seconds).toBe(root.seconds);
    }
  });

  it('charges alpha and rate of the link class of each round, and shared cards', () => {
    const topology = uniformTopology(2, 4);
    const price = (algorithm: 'ring' | 'two-level', ranksPerNic: number) =>
      collectiveCost({ op: 'allReduce', algorithm, topology, counts: [1 << 20] }, { ...links, ranksPerNic });
    expect(price('two-level', 1).seconds).toBeLessThan(price('ring', 1).seconds);
    const ring = price('ring', 1);
    const busy = ring.ranks.find(({ sentBytes }) => sentBytes.inter > 0);
    expect(busy?.sentBytes.intra).toBe(0);
    expect(price('ring', 4).seconds).toBeGreaterThan(ring.seconds * 2);
  });

  it('needs time in proportion to the ranks', () => {
    const cost = collectiveCost(
      { op: 'allReduce', algorithm: 'ring', topology: uniformTopology(256, 8), counts: [1 << 22] },
      h800Normal,
    );
    expect(cost.slowest.totals.rounds).toBe(2 * 2047);
    expect(cost.ranks.length).toBeLessThanOrEqual(4);
  });
});
