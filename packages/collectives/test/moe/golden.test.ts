import {
  createDispatcher,
  createLoopback,
  type Dispatcher,
  type DispatcherOptions,
  dispatchLayout,
  uniformTopology,
} from '@moestack/collectives';
import { describe, expect, it } from 'vitest';
import { runExpertsBf16 } from './experts.js';
import { caseNames, GoldenCase, sha256 } from './golden-case.js';

function options(
  golden: GoldenCase,
  mode: 'direct' | 'hierarchical',
): DispatcherOptions & { mode: typeof mode } {
  const { config } = golden.file;
  return {
    mode,
    experts: config.num_experts,
    topK: config.num_topk,
    hidden: config.hidden,
    maxTokensPerRank: Math.max(...config.num_tokens),
    expertAlignment: config.expert_alignment,
  };
}

function ranksOf(golden: GoldenCase) {
  const { nodes, ranks_per_node: ranksPerNode } = golden.file.config;
  return createLoopback(nodes * ranksPerNode, { topology: uniformTopology(nodes, ranksPerNode) });
}

/** One dispatch, expert and combine pass of every rank. */
async function passes<T>(
  golden: GoldenCase,
  dispatcherOptions: DispatcherOptions & { mode: 'direct' | 'hierarchical' },
  body: (dispatcher: Dispatcher, rank: number) => Promise<T>,
): Promise<T[]> {
  return Promise.all(
    ranksOf(golden).map(async (comm) => {
      const dispatcher = await createDispatcher(comm, dispatcherOptions);
      const result = await body(dispatcher, comm.rank);
      await dispatcher.close();
      return result;
    }),
  );
}

const modes = ['direct', 'hierarchical'] as const;
const variants = [
  { name: 'whole transfers', extra: {} },
  { name: 'chunks of 3', extra: { chunkTokens: 3 } },
  { name: 'no counts', extra: { worstCase: true } },
  { name: 'bounded rows', extra: { bounded: true } },
];

describe.each(caseNames)('%s', (name) => {
  const golden = new GoldenCase(name);
  const { config, layout, recv, traffic } = golden.file;

  it('counts where tokens go', () => {
    const { num_experts: experts, num_topk: topK, num_ranks: ranks, ranks_per_node: ranksPerNode } = config;
    for (let rank = 0; rank < ranks; rank++) {
      const got = dispatchLayout(golden.i32(`in/${rank}/topk_idx`), config.num_tokens[rank]!, {
        experts,
        topK,
        ranks,
        ranksPerNode,
      });
      const expected = layout[rank]!;
      expect([...got.tokensPerRank]).toEqual(expected.num_tokens_per_rank);
      expect(got.tokensPerNode === undefined ? null : [...got.tokensPerNode]).toEqual(
        expected.num_tokens_per_rdma_rank,
      );
      expect([...got.tokensPerExpert]).toEqual(expected.num_tokens_per_expert);
      expect(got.isTokenInRank).toEqual(golden.bool8(`layout/${rank}/is_token_in_rank`));
      expect(sha256(got.isTokenInRank)).toBe(expected.is_token_in_rank_sha256);
    }
  });

  describe.each(modes)('%s', (mode) => {
    it.each(variants)('dispatches and combines bit for bit ($name)', async ({ extra }) => {
      const bounded =
        'bounded' in extra ? { maxReceiveTokens: Math.max(...recv.map((r) => r.num_recv_tokens)) } : extra;
      const worstCase = 'worstCase' in extra;
      await passes(golden, { ...options(golden, mode), ...bounded }, async (dispatcher, rank) => {
        const { num_topk: topK, hidden, num_experts: experts, num_ranks: ranks } = config;
        const topkIdx = golden.i32(`in/${rank}/topk_idx`);
        const topkWeights = golden.f32(`in/${rank}/topk_weights`);
        const result = await dispatcher.dispatch({ x: golden.bf16(`in/${rank}/x`), topkIdx, topkWeights });
        const expected = recv[rank]!;
        const { rows } = result;
        expect(rows).toBe(expected.num_recv_tokens);
        expect(result.srcRank.subarray(0, rows)).toEqual(golden.i32(`recv/${rank}/src_rank`));
        expect(result.srcIdx.subarray(0, rows)).toEqual(golden.i32(`recv/${rank}/src_idx`));
        expect(result.topkIdx.subarray(0, rows * topK)).toEqual(golden.i32(`recv/${rank}/topk_idx`));
        expect(result.topkWeights.subarray(0, rows * topK)).toEqual(golden.f32(`recv/${rank}/topk_weights`));
        expect(sha256((result.x as Uint16Array).subarray(0, rows * hidden))).toBe(expected.sha256!.x_bf16);
        expect([...result.tokensPerExpert]).toEqual(expected.num_recv_tokens_per_expert_list);
        if (worstCase) {
          expect(result.rankPrefixMatrix).toBeUndefined();
          expect(result.topkIdx.subarray(rows * topK).every((id) => id === -1)).toBe(true);
        } else {
          expect([...result.rankPrefixMatrix!]).toEqual(golden.file.rank_prefix_matrix.flat());
        }
        const y = runExpertsBf16(result.x as Uint16Array, result.topkIdx, result.topkWeights, {
          rows,
          hidden,
          topK,
          experts,
          firstExpert: (rank * experts) / ranks,
        });
        expect(sha256(y)).toBe(expected.sha256!.y_bf16);
        const biases = config.bias
          ? [golden.bf16(`combine/${rank}/bias0`), golden.bf16(`combine/${rank}/bias1`)]
          : [];
        const combined = await dispatcher.combine({
          handle: result.handle,
          x: y,
          topkWeights: result.topkWeights,
          biases,
        });
        const out = (combined.x as Uint16Array).subarray(0, (topkIdx.length / topK) * hidden);
        expect(out).toEqual(golden.bf16(`combine/${rank}/out_${mode}`));
        expect(sha256(out)).toBe(golden.file.combine![rank]![`${mode}_sha256`]);
        expect(combined.topkWeights.subarray(0, topkIdx.length)).toEqual(
          golden.f32(`combine/${rank}/out_topk_weights`),
        );
        expect(dispatcher.counters.control.report().sent.self.messages).toBe(worstCase ? 0 : 1);
      });
    });

    it('counts tokens and bytes per link class as they move', async () => {
      const kind = mode === 'direct' ? 'direct_per_rank' : 'hierarchical';
      const copies = traffic.copies[kind];
      for (const payload of ['bf16', 'fp8'] as const) {
        const bytes = traffic.message_bytes[`normal_${payload}`]!;
        const combineBytes = traffic.message_bytes['normal_combine_bf16']!;
        const reports = await passes(
          golden,
          { ...options(golden, mode), payload },
          async (dispatcher, rank) => {
            const elements = config.num_tokens[rank]! * config.hidden;
            const result = await dispatcher.dispatch({
              ...(payload === 'bf16'
                ? { x: new Uint16Array(elements) }
                : { x: new Uint8Array(elements), scales: new Float32Array(elements / 128) }),
              topkIdx: golden.i32(`in/${rank}/topk_idx`),
            });
            await dispatcher.combine({
              handle: result.handle,
              x: new Uint16Array(result.rows * config.hidden),
            });
            return {
              dispatch: dispatcher.counters.dispatch.report(),
              combine: dispatcher.counters.combine.report(),
            };
          },
        );
        for (const [rank, report] of reports.entries()) {
          for (const [counted, size, sent, received] of [
            [report.dispatch, bytes, 'send', 'recv'],
            [report.combine, combineBytes, 'recv', 'send'],
          ] as const) {
            expect(counted.sent.self.bytes).toBe(copies.self[rank]! * size);
            expect(counted.received.self.bytes).toBe(copies.self[rank]! * size);
            expect(counted.sent.intra.bytes).toBe(copies[`intra_${sent}`][rank]! * size);
            expect(counted.received.intra.bytes).toBe(copies[`intra_${received}`][rank]! * size);
            expect(counted.sent.inter.bytes).toBe(copies[`inter_${sent}`][rank]! * size);
            expect(counted.received.inter.bytes).toBe(copies[`inter_${received}`][rank]! * size);
          }
        }
        const sum = (link: 'self' | 'intra' | 'inter') =>
          reports.reduce((total, report) => total + report.dispatch.sent[link].bytes, 0);
        const expected = traffic.dispatch_bytes[`${kind}_normal_${payload}`]!;
        expect([sum('self'), sum('intra'), sum('inter')]).toEqual([
          expected['self'],
          expected['intra_node'],
          expected['inter_node'],
        ]);
        expect(Math.max(...reports.map((report) => report.dispatch.sent.inter.bytes))).toBe(
          expected['max_rank_inter_send'],
        );
        expect(Math.max(...reports.map((report) => report.dispatch.received.inter.bytes))).toBe(
          expected['max_rank_inter_recv'],
        );
        expect(Math.max(...reports.map((report) => report.dispatch.sent.intra.bytes))).toBe(
          expected['max_rank_intra_send'],
        );
        expect(Math.max(...reports.map((report) => report.dispatch.received.intra.bytes))).toBe(
          expected['max_rank_intra_recv'],
        );
      }
    });
  });
});
