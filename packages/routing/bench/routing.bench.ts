import {
  allocateDispatchPlan,
  combineRows,
  createRandom,
  createRouter,
  createScalarRouter,
  type Permutation,
  permuteRows,
  planDispatchInto,
  planPermutation,
  planPermutationInto,
  type RouterConfig,
  sequenceBalanceLoss,
} from '@moestack/routing';
import { type BenchGroup, defineBench } from '@moestack/tooling/bench';

const EXPERTS = 256;
const TOP_K = 8;
const HIDDEN = 7168;
const TOKENS = [1024, 2048, 4096];
const LARGEST = 4096;

const config: RouterConfig = {
  experts: EXPERTS,
  topK: TOP_K,
  groups: 8,
  topKGroups: 4,
  scoring: 'sigmoid',
  routedScalingFactor: 2.5,
};

const notes = [
  'gate of DeepSeek-V3: E = 256, G = 8, L = 4, K = 8, sigmoid, bias, normalised; one thread; scalar = the same decisions without SIMD',
  'permute: [4096, 7168] bfloat16 rows to 8 places each; GB/s counts bytes read once and written; peer: copying the same bytes with TypedArray.set',
];

function operands(tokens: number) {
  const random = createRandom(7);
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

function gateGroup(): BenchGroup {
  const router = createRouter(config);
  const scalar = createScalarRouter(config);
  const cases = TOKENS.flatMap((tokens) =>
    [router, scalar].map((gate) => {
      const { logits, out } = operands(tokens);
      const name = `${gate === router ? 'routeInto' : 'scalar'} T=${tokens}`;
      const run = (): void => gate.routeInto(logits, tokens, out);
      run();
      notes.push(`CPU time of ${name}: ${cpuMilliseconds(run).toFixed(1)} ms (median of 15)`);
      return { name, unit: 'ms', run };
    }),
  );
  return {
    name: 'gate',
    cases,
    ratios: [
      { name: 'scalar over SIMD', numerator: 'scalar T=4096', denominator: 'routeInto T=4096', aim: 2 },
      { name: 'growth 1024 -> 4096', numerator: 'routeInto T=4096', denominator: 'routeInto T=1024', aim: 4 },
    ],
  };
}

function routed(tokens: number): Int32Array {
  const { logits, out } = operands(tokens);
  createRouter(config).routeInto(logits, tokens, out);
  return out.indices;
}

/** Copies as many bytes from and to the same places in memory order. */
function copyRows(x: Uint16Array, out: Uint16Array): void {
  for (let at = 0; at < out.length; at += x.length) out.set(x, at);
}

function permuteGroup(): BenchGroup {
  const plan = planPermutation(routed(LARGEST), LARGEST, { experts: EXPERTS, topK: TOP_K });
  const x = new Uint16Array(LARGEST * HIDDEN).fill(0x3f80);
  const out = new Uint16Array(plan.assignments * HIDDEN);
  const work = (x.byteLength + out.byteLength) / 1e9;
  return {
    name: 'permute',
    rounds: 7,
    cases: [
      {
        name: 'permuteRows bf16',
        unit: 'GB/s',
        work,
        run: () => void permuteRows(x, plan, { columns: HIDDEN, out }),
      },
      { name: 'TypedArray.set', unit: 'GB/s', work, run: () => copyRows(x, out) },
    ],
    ratios: [
      {
        name: 'permute over plain copy',
        numerator: 'permuteRows bf16',
        denominator: 'TypedArray.set',
        aim: 0.8,
      },
    ],
  };
}

function combineGroup(): BenchGroup {
  const cases = [256, 512, 1024].map((tokens) => {
    const plan: Permutation = planPermutation(routed(tokens), tokens, { experts: EXPERTS, topK: TOP_K });
    const y = new Float32Array(plan.assignments * HIDDEN).fill(1);
    const out = new Float32Array(tokens * HIDDEN);
    const weights = new Float32Array(tokens * TOP_K).fill(0.125);
    const options = { columns: HIDDEN, weights, out };
    const work = (y.byteLength + out.byteLength) / 1e9;
    return {
      name: `combineRows f32 T=${tokens}`,
      unit: 'GB/s',
      work,
      run: () => void combineRows(y, plan, options),
    };
  });
  return { name: 'combine', rounds: 7, cases };
}

function planGroup(): BenchGroup {
  const indices = routed(LARGEST);
  const plan = planPermutation(indices, LARGEST, { experts: EXPERTS, topK: TOP_K });
  const topology = { slots: EXPERTS, ranks: 64, nodes: 8 };
  const dispatch = allocateDispatchPlan({ topology, topK: TOP_K, maxTokens: LARGEST });
  const { logits } = operands(LARGEST);
  const gradLogits = new Float32Array(logits.length);
  const loss = { experts: EXPERTS, topK: TOP_K, sequenceTokens: 1024, gradLogits };
  return {
    name: 'plans and losses, T=4096',
    cases: [
      { name: 'planPermutationInto', unit: 'ms', run: () => planPermutationInto(indices, LARGEST, plan) },
      {
        name: 'planDispatchInto, 64 ranks on 8 nodes',
        unit: 'ms',
        run: () => planDispatchInto(indices, LARGEST, dispatch),
      },
      {
        name: 'sequenceBalanceLoss with gradient',
        unit: 'ms',
        run: () => void sequenceBalanceLoss(logits, indices, loss),
      },
    ],
  };
}

export default defineBench({
  name: 'routing',
  notes,
  groups: () => [gateGroup(), permuteGroup(), combineGroup(), planGroup()],
});
