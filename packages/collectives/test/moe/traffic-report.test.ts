import {
  createDispatcher,
  createLoopback,
  snapshotCounters,
  trafficReport,
  uniformTopology,
} from '@moestack/collectives';
import { TrafficReport, toJsonSchema } from '@moestack/schemas';
import { expect, it } from 'vitest';
import { GoldenCase } from './golden-case.js';

it('reports what all ranks counted in the form of the schema', async () => {
  const golden = new GoldenCase('mini-2n4g-grouped');
  const { config, traffic } = golden.file;
  const dispatchers = await Promise.all(
    createLoopback(8, { topology: uniformTopology(2, 4) }).map((comm) =>
      createDispatcher(comm, {
        mode: 'hierarchical',
        experts: config.num_experts,
        topK: config.num_topk,
        hidden: config.hidden,
        maxTokensPerRank: 12,
      }),
    ),
  );
  await Promise.all(
    dispatchers.map(async (dispatcher) => {
      const { rank } = dispatcher;
      const result = await dispatcher.dispatch({
        x: golden.bf16(`in/${rank}/x`),
        topkIdx: golden.i32(`in/${rank}/topk_idx`),
      });
      await dispatcher.combine({ handle: result.handle, x: result.x as Uint16Array });
    }),
  );
  const report: TrafficReport = trafficReport(
    dispatchers[0]!.config,
    dispatchers.map((dispatcher) => snapshotCounters(dispatcher.counters)),
  );
  expect(TrafficReport.parse(JSON.parse(JSON.stringify(report)))).toEqual(report);
  expect(toJsonSchema(TrafficReport)['additionalProperties']).toBe(false);
  const { copies, dispatch_bytes } = traffic;
  expect(report.dispatch.ranks.map(({ sent }) => sent.inter.tokens)).toEqual(copies.hierarchical.inter_send);
  expect(report.combine.ranks.map(({ sent }) => sent.inter.tokens)).toEqual(copies.hierarchical.inter_recv);
  expect(report.dispatch.total.inter.bytes).toBe(dispatch_bytes['hierarchical_normal_bf16']!['inter_node']);
  // Every rank tells every rank: counts for 8 ranks, 2 nodes and its 4 experts.
  expect(report.controlBytes).toBe(8 * 8 * (8 + 2 + 4) * 4);
  await Promise.all(dispatchers.map((dispatcher) => dispatcher.close()));
});
