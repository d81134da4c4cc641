import { Arena, Kernels } from '@moestack/kernels';
import { TrainConfig } from '@moestack/schemas';
import { type BenchCase, type BenchGroup, defineBench } from '@moestack/tooling/bench';
import { Trainer } from '@moestack/training';

const SEQUENCES = 16;
const CONTEXT = 128;
/** Side of the square product whose rate counts as the peak. */
const PEAK_SIDE = 768;

const sizes = {
  '2.8 M parameters': { hiddenSize: 192, layers: 4, experts: 16, denseWidth: 384, expertWidth: 64 },
  '9 M parameters': { hiddenSize: 256, layers: 6, experts: 32, denseWidth: 768, expertWidth: 64 },
} as const;

function trainer(size: keyof typeof sizes, recipe: string): Trainer {
  const config = TrainConfig.parse({
    schemaVersion: 1,
    name: size,
    model: {
      vocabularySize: 1024,
      heads: 4,
      queryRank: 64,
      keyValueRank: 48,
      nopeDims: 32,
      ropeDims: 16,
      valueDims: 32,
      topK: 4,
      groups: 4,
      topKGroups: 2,
      ...sizes[size],
    },
    recipe: { name: recipe },
    steps: 1_000_000,
    batchSequences: SEQUENCES,
    contextTokens: CONTEXT,
    seeds: { weights: 1, data: 1 },
  });
  return new Trainer(config);
}

function batchOf(step: number): Int32Array {
  return Int32Array.from(
    { length: SEQUENCES * (CONTEXT + 1) },
    (_, i) => (Math.imul(i + 131 * step, 0x9e3779b1) >>> 16) % 1024,
  );
}

/** One step, counted by the products of its three passes: Fprop, Dgrad and Wgrad. */
function step(size: keyof typeof sizes, recipe: string): BenchCase {
  const rates = trainer(size, recipe);
  let count = 0;
  const run = (): void => {
    rates.step(batchOf(count++), false);
  };
  run();
  const repeated = (2 * rates.repeatedMacs) / 1e9;
  const work = (2 * rates.macs) / 1e9 - repeated;
  const name = `${recipe}, ${size}`;
  const { perToken, bf16PerToken } = rates.savedBytes();
  notes.push(
    `${name}: 1 GFLOP/s is ${((SEQUENCES * CONTEXT) / work).toFixed(1)} tokens/s; products that backward repeats add ${Math.round((100 * repeated) / work)} %; ${Math.round(perToken)} bytes a token kept for backward, ${Math.round(bf16PerToken)} in bfloat16`,
  );
  return { name, unit: 'GFLOP/s', work, run };
}

function peak(): BenchCase {
  const kernels = new Kernels(Arena.create({ maximumBytes: 64 << 20 }));
  const [a, b, c] = [1, 2, 3].map(() => kernels.arena.f32(PEAK_SIDE * PEAK_SIDE).fill(0.5)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const shape = { m: PEAK_SIDE, n: PEAK_SIDE, k: PEAK_SIDE };
  return {
    name: 'peak: f32 product of 768',
    unit: 'GFLOP/s',
    work: (2 * PEAK_SIDE ** 3) / 1e9,
    run: () => kernels.gemm(a, b, c, shape),
  };
}

const notes: string[] = [
  'one thread; 16 sequences of 128 tokens a step',
  'FLOP: 2 m n k of every product of the three passes; those that backward repeats to keep fewer activations do not count',
  'products inside the forward attention kernel are not counted; backward repeats the scores, which stand for them',
];

function group(size: keyof typeof sizes): BenchGroup {
  const item = peak();
  const recipes = ['f32', 'bf16', 'deepseek-v3'] as const;
  return {
    name: size,
    rounds: 5,
    cases: [item, ...recipes.map((recipe) => step(size, recipe))],
    ratios: recipes.map((recipe) => ({
      name: `${recipe} / peak, ${size}`,
      numerator: `${recipe}, ${size}`,
      denominator: item.name,
      aim: recipe === 'deepseek-v3' ? 0.35 : 0.5,
    })),
  };
}

export default defineBench({
  name: 'training',
  groups: () => [group('2.8 M parameters'), group('9 M parameters')],
  notes,
});
