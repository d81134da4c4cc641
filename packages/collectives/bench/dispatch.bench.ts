import {
  createDispatcher,
  createLoopback,
  type Dispatcher,
  runTogether,
  uniformTopology,
} from '@moestack/collectives';
import { defineBench } from '@moestack/tooling/bench';

const RANKS = 4;
const TOKENS = 256;
const TOP_K = 8;
const EXPERTS = 64;
const HIDDEN = 2048;

/** Uniform numbers in [0, 1), seeded (mulberry32). */
function uniform(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function selections(seed: number): Int32Array {
  const random = uniform(seed);
  const idx = new Int32Array(TOKENS * TOP_K);
  for (let token = 0; token < TOKENS; token++) {
    const chosen = new Set<number>();
    while (chosen.size < TOP_K) chosen.add(Math.floor(random() * EXPERTS));
    idx.set([...chosen], token * TOP_K);
  }
  return idx;
}

/** Polls exchanges of ranks that share this thread until all are complete. */
function finish(exchanges: readonly { poll(): boolean }[]): void {
  for (let done = 0; done < exchanges.length; ) {
    done = 0;
    for (const exchange of exchanges) if (exchange.poll()) done++;
  }
}

async function open(mode: 'direct' | 'hierarchical'): Promise<Dispatcher[]> {
  const options = {
    experts: EXPERTS,
    topK: TOP_K,
    hidden: HIDDEN,
    maxTokensPerRank: TOKENS,
    inFlight: 1,
  } as const;
  const comms = createLoopback(RANKS, { topology: uniformTopology(2, RANKS / 2) });
  return Promise.all(comms.map((comm) => createDispatcher(comm, { mode, ...options })));
}

function sentBytes(dispatchers: readonly Dispatcher[]): number {
  let bytes = 0;
  for (const { counters } of dispatchers) {
    const { self, intra, inter } = counters.dispatch.report().sent;
    bytes += self.bytes + intra.bytes + inter.bytes;
  }
  return bytes;
}

export default defineBench({
  name: 'dispatch',
  notes: [
    `${RANKS} ranks of one thread, ${TOKENS} tokens each, top-${TOP_K} of ${EXPERTS} experts, ${HIDDEN} channels in BF16; all ranks in turn, so a figure is the bytes of all ranks over the time of one core`,
    'the peer moves as many bytes by a planned pairwise all-to-all between the same buffers, without packing, counts or order',
  ],
  groups: async () => {
    const inputs = Array.from({ length: RANKS }, (_, rank) => ({
      x: new Uint16Array(TOKENS * HIDDEN).fill(0x3f91),
      topkIdx: selections(rank + 1),
      topkWeights: new Float32Array(TOKENS * TOP_K).fill(1 / TOP_K),
    }));
    const groups = [];
    for (const mode of ['direct', 'hierarchical'] as const) {
      const dispatchers = await open(mode);
      const dispatch = () => {
        const sent = dispatchers.map((dispatcher, rank) => dispatcher.dispatchSend(inputs[rank]!));
        finish(sent);
        return sent.map((exchange, rank) => dispatchers[rank]!.dispatchReceive(exchange));
      };
      const results = dispatch();
      const bytes = sentBytes(dispatchers);
      const combine = () => {
        const sent = dispatchers.map((dispatcher, rank) =>
          dispatcher.combineSend({ handle: results[rank]!.handle, x: results[rank]!.x as Uint16Array }),
        );
        finish(sent);
        for (const [rank, exchange] of sent.entries()) dispatchers[rank]!.combineReceive(exchange);
      };
      const count = Math.floor(bytes / RANKS / RANKS);
      const plans = createLoopback(RANKS).map((comm) =>
        comm.plan({
          op: 'allToAll',
          dtype: 'u8',
          sendCounts: count,
          receiveCounts: count,
          algorithm: 'pairwise',
        }),
      );
      const moved = count * RANKS * RANKS;
      groups.push({
        name: mode,
        cases: [
          { name: `${mode} combine`, unit: 'GB/s', work: bytes / 1e9, run: combine },
          {
            name: `${mode} all-to-all of the same bytes`,
            unit: 'GB/s',
            work: moved / 1e9,
            run: () => runTogether(plans),
          },
          {
            name: `${mode} dispatch and combine`,
            unit: 'GB/s',
            work: (2 * bytes) / 1e9,
            run: () => {
              const fresh = dispatch();
              for (const [rank, result] of fresh.entries()) results[rank] = result;
              combine();
            },
          },
        ],
        ratios: [
          {
            name: `${mode} / all-to-all`,
            numerator: `${mode} dispatch and combine`,
            denominator: `${mode} all-to-all of the same bytes`,
          },
        ],
      });
    }
    return groups;
  },
});
