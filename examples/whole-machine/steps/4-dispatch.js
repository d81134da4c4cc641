import {
  createDispatcher,
  createLoopback,
  snapshotCounters,
  trafficReport,
  uniformTopology,
} from '@moestack/collectives';
import { createReplicaSelector, decodePlan } from '@moestack/placement';
import { decodeRoutingTrace } from '@moestack/routing/trace';
import { readText, writeText } from '../files.js';

const hidden = 256;
const plan = decodePlan(readText('placement.json'));
const { topK, records } = await decodeRoutingTrace(readText('trace.json'));
const { nodes, gpus: ranks, replicas } = plan.deployment;

const most = Math.max(...records.map(({ tokens }) => tokens));
const dispatchers = await Promise.all(
  createLoopback(ranks, { topology: uniformTopology(nodes, ranks / nodes) }).map((comm) =>
    createDispatcher(comm, {
      mode: 'hierarchical',
      experts: replicas,
      topK,
      hidden,
      maxTokensPerRank: Math.ceil(most / ranks),
      payload: 'bf16',
    }),
  ),
);
const selectors = dispatchers.map((_, rank) =>
  createReplicaSelector(plan, { policy: 'localFirst', sourceGpu: rank, seed: rank + 1 }),
);

for (const { layer, tokens, indices } of records) {
  await Promise.all(
    dispatchers.map(async (dispatcher, rank) => {
      const share = Math.ceil(tokens / ranks);
      const logical = indices.slice(rank * share * topK, Math.min(tokens, (rank + 1) * share) * topK);
      const physical = new Int32Array(logical.length);
      selectors[rank].selectInto(layer, logical, physical);
      const count = logical.length / topK;
      const { rows, handle } = await dispatcher.dispatch({
        x: new Uint16Array(count * hidden),
        tokens: count,
        topkIdx: physical,
      });
      await dispatcher.combine({ handle, x: new Uint16Array(rows * hidden) });
    }),
  );
}
const report = trafficReport(
  dispatchers[0].config,
  dispatchers.map(({ counters }) => snapshotCounters(counters)),
);
writeText('traffic.json', JSON.stringify(report));
await Promise.all(dispatchers.map((dispatcher) => dispatcher.close()));
const { self, intra, inter } = report.dispatch.total;
console.log(
  `dispatched ${self.tokens} rows to the own rank, ${intra.tokens} within a node, ${inter.tokens} between nodes (${inter.bytes} bytes)`,
);
