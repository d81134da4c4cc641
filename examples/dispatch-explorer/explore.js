import {
  createDispatcher,
  createLoopback,
  snapshotCounters,
  trafficReport,
  uniformTopology,
} from '@moestack/collectives';
import { h800Normal, phaseCost } from '@moestack/collectives/cost';

/** The modes that the explorer compares. */
export const MODES = ['direct', 'hierarchical'];

/**
 * Sends the tokens of a trace through real dispatchers, one for each rank, and reads off what their transports counted.
 *
 * @param {{ experts: number, topK: number, tokens: number, indices: Int32Array }} trace - expert ids are taken as physical ids
 * @param {{ nodes: number, ranksPerNode: number, hidden: number, payload: 'bf16' | 'fp8' | 'f32' }} options
 */
export async function explore(trace, options) {
  const { nodes, ranksPerNode } = options;
  const ranks = nodes * ranksPerNode;
  if (ranks > 64) throw new Error(`expected at most 64 ranks, got ${ranks}: the drawing would be unreadable`);
  if (trace.experts % ranks !== 0) {
    throw new Error(`expected ${trace.experts} experts to divide evenly over ${ranks} ranks`);
  }
  const shards = shard(trace, ranks);
  const modes = [];
  for (const mode of MODES) modes.push(await run(mode, shards, trace, options));
  return { ...options, ranks, experts: trace.experts, topK: trace.topK, tokens: trace.tokens, shards, modes };
}

/** Tokens of each rank: equal runs of the trace, the first ones longer by one where it does not divide. */
function shard({ tokens, topK, indices }, ranks) {
  let first = 0;
  return Array.from({ length: ranks }, (_, rank) => {
    const count = Math.floor(tokens / ranks) + (rank < tokens % ranks ? 1 : 0);
    const topkIdx = indices.slice(first * topK, (first + count) * topK);
    const shard = { first, tokens: count, topkIdx };
    first += count;
    return shard;
  });
}

/** Rows of zeros in the payload's type: only their size matters here. */
function rowsOf(payload, tokens, hidden) {
  if (payload === 'f32') return { x: new Float32Array(tokens * hidden) };
  if (payload === 'bf16') return { x: new Uint16Array(tokens * hidden) };
  return { x: new Uint8Array(tokens * hidden), scales: new Float32Array((tokens * hidden) / 128) };
}

async function run(mode, shards, trace, { nodes, ranksPerNode, hidden, payload }) {
  const topology = uniformTopology(nodes, ranksPerNode);
  const maxTokensPerRank = Math.max(1, ...shards.map(({ tokens }) => tokens));
  const dispatchers = await Promise.all(
    createLoopback(shards.length, { topology }).map((comm) =>
      createDispatcher(comm, {
        mode,
        experts: trace.experts,
        topK: trace.topK,
        hidden,
        maxTokensPerRank,
        payload,
        chunkTokens: Math.min(4, maxTokensPerRank),
        inFlight: 1,
      }),
    ),
  );
  const received = await Promise.all(
    dispatchers.map(async (dispatcher, rank) => {
      const { tokens, topkIdx } = shards[rank];
      const { rows, srcRank, srcIdx, handle } = await dispatcher.dispatch({
        ...rowsOf(payload, tokens, hidden),
        tokens,
        topkIdx,
      });
      const arrivals = Array.from({ length: rows }, (_, row) => [srcRank[row], srcIdx[row]]);
      const Rows = dispatcher.config.combinePayload === 'f32' ? Float32Array : Uint16Array;
      await dispatcher.combine({ handle, x: new Rows(rows * hidden) });
      return arrivals;
    }),
  );
  const report = trafficReport(
    dispatchers[0].config,
    dispatchers.map(({ counters }) => snapshotCounters(counters)),
  );
  const flows = dispatchers.map(({ counters }) =>
    Array.from(counters.dispatch.bytesSent, (bytes) => bytes / report.dispatch.messageBytes),
  );
  await Promise.all(dispatchers.map((dispatcher) => dispatcher.close()));
  return { mode, report, flows, arrivals: received, seconds: price(mode, report) };
}

/** What the exchange would take on H800 nodes: the busiest rank decides. */
function price(mode, report) {
  const phase = ({ ranks, messageBytes }) =>
    Math.max(
      ...ranks.map(({ sent, received }) => {
        const tokens = (link) => Math.max(sent[link].tokens, received[link].tokens);
        const busiest = { self: tokens('self'), intra: tokens('intra'), inter: tokens('inter') };
        return phaseCost(mode, busiest, messageBytes, h800Normal).seconds;
      }),
    );
  return { dispatch: phase(report.dispatch), combine: phase(report.combine) };
}
