import {
  createDispatcher,
  createLoopback,
  dispatchLayout,
  dispatchMessage,
  uniformTopology,
} from '@moestack/collectives';
import { expect, it } from 'vitest';
import { type Copies, GoldenCase, sha256 } from './golden-case.js';

const golden = new GoldenCase('v3-layout-8n8g');
const { config, traffic, layout, recv } = golden.file;
const topology = uniformTopology(config.nodes, config.ranks_per_node);
/** Rows are narrower than in the case, so that 64 ranks fit in a small machine; messages are counted, not channels. */
const HIDDEN = 128;
const shape = {
  experts: config.num_experts,
  topK: config.num_topk,
  ranks: config.num_ranks,
  ranksPerNode: config.ranks_per_node,
};

it('lays out 64 ranks with a limit of 4 nodes', () => {
  for (let rank = 0; rank < config.num_ranks; rank++) {
    const got = dispatchLayout(golden.i32(`in/${rank}/topk_idx`), config.num_tokens[rank]!, shape);
    expect([...got.tokensPerRank]).toEqual(layout[rank]!.num_tokens_per_rank);
    expect([...got.tokensPerNode!]).toEqual(layout[rank]!.num_tokens_per_rdma_rank);
    expect([...got.tokensPerExpert]).toEqual(layout[rank]!.num_tokens_per_expert);
    expect(sha256(got.isTokenInRank)).toBe(layout[rank]!.is_token_in_rank_sha256);
  }
});

it.each([
  ['direct', 'direct_per_rank', 'normal_fp8'],
  ['hierarchical', 'hierarchical', 'normal_fp8'],
  ['low-latency', 'direct_per_expert', 'll_fp8'],
] as const)('counts the traffic of 64 ranks (%s)', async (mode, kind, message) => {
  const size = dispatchMessage({
    mode,
    hidden: HIDDEN,
    topK: config.num_topk,
    payload: 'fp8',
    combinePayload: 'bf16',
  }).bytes;
  const reports = await Promise.all(
    createLoopback(config.num_ranks, { topology, timeoutSeconds: 60 }).map(async (comm) => {
      const dispatcher = await createDispatcher(comm, {
        mode,
        experts: config.num_experts,
        topK: config.num_topk,
        hidden: HIDDEN,
        maxTokensPerRank: 128,
        payload: 'fp8',
        chunkTokens: 8,
        inFlight: 1,
        ...(mode === 'low-latency'
          ? {}
          : { maxReceiveTokens: Math.max(...recv.map((r) => r.num_recv_tokens)) }),
      });
      const elements = config.num_tokens[comm.rank]! * HIDDEN;
      const topkIdx = golden.i32(`in/${comm.rank}/topk_idx`);
      if ('maskRank' in dispatcher) {
        await dispatcher.dispatch({ x: new Uint16Array(elements), topkIdx });
      } else {
        const x = new Uint8Array(elements);
        const result = await dispatcher.dispatch({ x, scales: new Float32Array(elements / 128), topkIdx });
        expect(result.rows).toBe(recv[comm.rank]!.num_recv_tokens);
        expect([...result.tokensPerExpert]).toEqual(recv[comm.rank]!.num_recv_tokens_per_expert_list);
        expect([...result.rankPrefixMatrix!]).toEqual(golden.file.rank_prefix_matrix.flat());
      }
      await dispatcher.close();
      return dispatcher.counters.dispatch.report();
    }),
  );
  const counted: Copies = {
    self: reports.map((report) => report.sent.self.bytes / size),
    intra_send: reports.map((report) => report.sent.intra.bytes / size),
    intra_recv: reports.map((report) => report.received.intra.bytes / size),
    inter_send: reports.map((report) => report.sent.inter.bytes / size),
    inter_recv: reports.map((report) => report.received.inter.bytes / size),
  };
  expect(counted).toEqual(traffic.copies[kind]);
  const bytes = dispatchMessage({
    mode,
    hidden: config.hidden,
    topK: config.num_topk,
    payload: 'fp8',
    combinePayload: 'bf16',
  }).bytes;
  expect(bytes).toBe(traffic.message_bytes[message]);
  const total = (counts: number[]) => counts.reduce((sum, count) => sum + count, 0) * bytes;
  const expected = traffic.dispatch_bytes[`${kind}_${message}`]!;
  expect([total(counted.self), total(counted.intra_send), total(counted.inter_send)]).toEqual([
    expected['self'],
    expected['intra_node'],
    expected['inter_node'],
  ]);
});
