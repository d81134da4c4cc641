import { createRouter } from '@moestack/routing';
import { defineBench } from '@moestack/tooling/bench';

const EXPERTS = 256;
const TOP_K = 8;
const TOKENS = [1024, 2048, 4096];

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

const notes = [
  'DeepSeek-V3 gate: E = 256, G = 8, L = 4, K = 8, sigmoid, bias, normalised; one thread, scalar TypeScript',
];

function operands(tokens: number) {
  const random = uniform(7);
  return {
    logits: Float32Array.from({ length: tokens * EXPERTS }, () => (random() + random() + random() - 1.5) * 3),
    out: {
      bias: Float32Array.from({ length: EXPERTS }, () => random() * 0.1),
      indices: new Int32Array(tokens * TOP_K),
      weights: new Float32Array(tokens * TOP_K),
      groups: new Int32Array(tokens * 4),
      counts: new Int32Array(EXPERTS),
    },
  };
}

/** CPU time counts other threads out, so a busy machine disturbs it less than wall time. */
function cpuMilliseconds(run: () => void): number {
  const figures: number[] = [];
  for (let round = 0; round < 15; round++) {
    const start = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(start);
    figures.push((user + system) / 1e3);
  }
  return figures.sort((a, b) => a - b)[7]!;
}

export default defineBench({
  name: 'routing',
  notes,
  groups: () => {
    const router = createRouter({
      experts: EXPERTS,
      topK: TOP_K,
      groups: 8,
      topKGroups: 4,
      scoring: 'sigmoid',
      routedScalingFactor: 2.5,
    });
    const cases = TOKENS.map((tokens) => {
      const { logits, out } = operands(tokens);
      const run = (): void => router.routeInto(logits, tokens, out);
      run();
      notes.push(`CPU time at T = ${tokens}: ${cpuMilliseconds(run).toFixed(1)} ms (median of 15)`);
      return { name: `routeInto T=${tokens}`, unit: 'ms', run };
    });
    return [
      {
        name: 'gate',
        cases,
        ratios: [
          {
            name: 'growth 1024 -> 4096',
            numerator: 'routeInto T=4096',
            denominator: 'routeInto T=1024',
            aim: 4,
          },
        ],
      },
    ];
  },
});
