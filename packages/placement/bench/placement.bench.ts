import {
  createReplicaSelector,
  type Deployment,
  type Load,
  lowerBound,
  type Plan,
  rebalance,
  TokenSplitter,
} from '@moestack/placement';
import { defineBench } from '@moestack/tooling/bench';

const LAYERS = 58;
const prefill: Deployment = { nodes: 4, gpus: 32, replicas: 288, groups: 8 };
const decode: Deployment = { nodes: 18, gpus: 144, replicas: 288 };

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

/** Zipf-like load with log-normal jitter, each layer in an order of its own. */
function makeLoad(layers: number, experts: number): Load {
  const random = uniform(layers * 1009 + experts);
  const counts = new Float64Array(layers * experts);
  for (let layer = 0; layer < layers; layer++) {
    const ranks = Array.from({ length: experts }, (_, i) => ({ i, key: random() })).sort(
      (a, b) => a.key - b.key,
    );
    ranks.forEach(({ i }, rank) => {
      const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
      counts[layer * experts + i] = Math.round((1e5 / (rank + 20) ** 0.7) * Math.exp(0.4 * normal));
    });
  }
  return { layers, experts, counts };
}

const notes: string[] = [];

/** CPU time counts other threads out, so a busy machine disturbs it less than wall time. */
function noteCpu(name: string, run: () => unknown, rounds: number): void {
  run();
  const figures: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const start = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(start);
    figures.push((user + system) / 1e3);
  }
  notes.push(
    `CPU time of ${name}: ${figures.sort((a, b) => a - b)[rounds >> 1]!.toFixed(1)} ms (median of ${rounds})`,
  );
}

function batch(load: Load, layer: number): number[] {
  return [...load.counts.subarray(layer * load.experts, (layer + 1) * load.experts)].map(Math.round);
}

export default defineBench({
  name: 'placement',
  notes,
  groups: () => {
    const load = makeLoad(LAYERS, 256);
    const eplb = (deployment: Deployment, l: Load = load): Plan =>
      rebalance(l, deployment, { policy: 'eplb' });
    noteCpu('exact EPLB, 58 x 256, EP32 hierarchical', () => eplb(prefill), 15);
    noteCpu('exact EPLB, 58 x 256, EP144', () => eplb(decode), 15);
    noteCpu('optimal, 58 x 256, EP32 hierarchical', () => rebalance(load, prefill), 5);
    noteCpu('optimal, 58 x 256, EP32 global', () => rebalance(load, { ...prefill, groups: 1 }), 5);
    noteCpu('optimal, 58 x 256, EP144', () => rebalance(load, decode), 5);
    const previous = rebalance(load, prefill);
    const moved = makeLoad(LAYERS, 256);
    noteCpu(
      'incremental, 58 x 256, EP32',
      () => rebalance(moved, prefill, { policy: 'incremental', previous }),
      5,
    );
    noteCpu('lowerBound, 58 x 256, EP144', () => lowerBound(load, decode), 3);

    const plan = rebalance(load, decode);
    const splitter = new TokenSplitter(plan, 0);
    const quotas = new Int32Array(288);
    const counts = batch(load, 0);
    const selector = createReplicaSelector(plan);
    const ids = Int32Array.from({ length: 4096 * 8 }, (_, i) => (i * 7919) % 256);
    const slots = new Int32Array(ids.length);
    const sizes = [
      { layers: 58, experts: 128, deployment: { nodes: 2, gpus: 16, replicas: 144 } },
      { layers: 58, experts: 256, deployment: { nodes: 4, gpus: 32, replicas: 288 } },
      { layers: 58, experts: 512, deployment: { nodes: 8, gpus: 64, replicas: 576 } },
    ];
    const growth = (policy: 'eplb' | 'optimal') =>
      sizes.map(({ layers, experts, deployment }) => {
        const l = makeLoad(layers, experts);
        return {
          name: `${policy} E=${experts}`,
          unit: 'ms',
          run: () => rebalance(l, deployment, { policy }),
        };
      });
    return [
      {
        name: 'growth',
        rounds: 5,
        cases: [...growth('eplb'), ...growth('optimal')],
        ratios: [
          { name: 'eplb, experts and GPUs x 4', numerator: 'eplb E=512', denominator: 'eplb E=128', aim: 16 },
          {
            name: 'optimal, experts and GPUs x 4',
            numerator: 'optimal E=512',
            denominator: 'optimal E=128',
            aim: 64,
          },
        ],
      },
      {
        name: 'step',
        cases: [
          { name: 'splitInto EP144', unit: 'ms', run: () => splitter.splitInto(counts, quotas) },
          { name: 'selectInto 4096 x 8', unit: 'ms', run: () => selector.selectInto(0, ids, slots) },
        ],
      },
    ];
  },
});
