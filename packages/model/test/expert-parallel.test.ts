import { fileURLToPath } from 'node:url';
import { fixturePath, readFixtureJson } from '@moestack/fixtures';
import { planFromSlots } from '@moestack/placement';
import { tinyMoe } from '@moestack/tiny-moe';
import { describe, expect, it } from 'vitest';
import { type ExpertRoutingOptions, openRuntime, type Precision, readConfig } from '../src/index.js';
import { batchOf, SIZES } from './batches.js';
import { maxAbs, meanKl, readGolden, tensor } from './golden.js';
import { greedy, LoopbackRanks, type TestOptions } from './rank-group.js';

interface Golden {
  readonly prompts: number[][];
  readonly variants: Record<string, { greedy: number[][] }>;
}

/** The golden tolerance plus what another order of additions may add. */
const TOLERANCE = 1e-4;
const v3 = fixturePath('routing-model/tiny-v3');
const v2 = fixturePath('routing-model/tiny-v2-lite');
const w8a8 = fixturePath('routing-model/tiny-v3-w8a8/fp8');
const tiny = fileURLToPath(tinyMoe);

const text = Int32Array.from({ length: 40 }, (_, i) => (i * 37 + 11) % 96);
const shorter = text.slice(3, 20);

/** One redundant slot for each rank, in another order in each layer. */
function redundant(layers: number, experts: number, ranks: number) {
  const replicas = experts + ranks;
  const slots = Array.from({ length: layers }, (_, layer) =>
    Array.from({ length: replicas }, (_, slot) => (slot * 7 + layer * 3) % replicas).map(
      (slot) => slot % experts,
    ),
  ).flat();
  return planFromSlots(slots, { layers, experts, deployment: { nodes: 1, gpus: ranks, replicas } });
}

async function alone(directory: string, tokens: Int32Array, options: TestOptions, emulate?: EmulateOptions) {
  const runtime = await openRuntime(directory, { ...options, ...SIZES, ...(emulate && { emulate }) });
  const logits = runtime.forwardAll(batchOf(tokens));
  await runtime.close();
  return logits;
}
type EmulateOptions = ExpertRoutingOptions & { ranks: number; rank: number; nodes: number };

describe.each([1, 2, 4])('experts over %s ranks, float32', (ranks) => {
  it.each([
    { folder: 'tiny-v3', path: '.', variant: 'yarn', config: 'config.json' },
    { folder: 'tiny-v3', path: '.', variant: 'no_yarn', config: 'config.no_yarn.json' },
    { folder: 'tiny-v2-lite', path: '.', variant: 'yarn', config: 'config.json' },
    { folder: 'tiny-v2-lite', path: '.', variant: 'no_yarn', config: 'config.no_yarn.json' },
  ])(
    'matches the logits and greedy tokens of $folder $variant',
    async ({ folder, path, variant, config }) => {
      const directory = `${fixturePath(`routing-model/${folder}`)}/${path}`;
      const golden = readFixtureJson<Golden>(`routing-model/${folder}/golden.json`);
      const tensors = readGolden(`routing-model/${folder}/golden.safetensors`);
      const prompts = golden.prompts.slice(0, ranks).map((tokens) => Int32Array.from(tokens));
      const group = await LoopbackRanks.open(directory, ranks, {}, { config, precision: 'f32' });
      const logits = await group.step(prompts);
      expect(maxAbs(logits[0]!, tensor(tensors, `${variant}.logits`).f32)).toBeLessThanOrEqual(TOLERANCE);
      const expected = golden.variants[variant]!.greedy.slice(0, ranks);
      expect(await greedy(group, prompts, expected[0]!.length)).toEqual(expected);
      await group.close();
    },
  );

  it.each([
    { directory: `${v3}/fp8`, precision: 'fp8-weights' as const },
    { directory: `${v2}/fp8`, precision: 'fp8-weights' as const },
    { directory: w8a8, precision: 'w8a8' as const },
    { directory: tiny, precision: 'fp8-weights' as const },
    { directory: tiny, precision: 'f32' as const },
  ])(
    'gives the logits and greedy tokens of one rank: $directory in $precision',
    async ({ directory, precision }) => {
      const group = await LoopbackRanks.open(directory, ranks, {}, { precision });
      const single = await LoopbackRanks.open(directory, 1, {}, { precision });
      const expected = await alone(directory, text, { precision });
      // W8A8 quantises what the layers before made: a sum in another order can flip a rounding of 2^-4.
      const tolerance = precision === 'w8a8' ? 2e-2 : TOLERANCE;
      expect(maxAbs((await group.step([text, shorter]))[0]!, expected)).toBeLessThanOrEqual(tolerance);
      expect((await greedy(group, [text], 12))[0]).toEqual((await greedy(single, [text], 12))[0]);
      await group.close();
      await single.close();
    },
  );
});

const payloads = ['f32', 'bf16', 'fp8'] as const;
const machines = [
  { mode: 'direct', ranks: 2, nodes: 1 },
  { mode: 'direct', ranks: 4, nodes: 1 },
  { mode: 'hierarchical', ranks: 4, nodes: 2 },
  { mode: 'low-latency', ranks: 4, nodes: 1 },
] as const;

describe.each(machines)('$mode over $ranks ranks on $nodes nodes', ({ mode, ranks, nodes }) => {
  describe.each(payloads)('payload %s', (payload) => {
    it.each([
      { precision: 'f32' as Precision, placed: false },
      { precision: 'fp8-weights' as Precision, placed: true },
      { precision: 'bf16' as Precision, placed: true },
    ])(
      'has the bits of the emulation: $precision, placed by a plan: $placed',
      async ({ precision, placed }) => {
        const placement = placed ? { placement: redundant(3, 16, ranks) } : {};
        const routing = { mode, payload, ...placement };
        const group = await LoopbackRanks.open(v3, ranks, { nodes, ...routing }, { precision });
        const prompts = [text, new Int32Array(0), shorter].slice(0, ranks);
        const logits = await group.step(prompts);
        for (const [rank, prompt] of prompts.entries()) {
          const expected = await alone(v3, prompt, { precision }, { ...routing, ranks, nodes, rank });
          expect(maxAbs(logits[rank]!, expected)).toBe(0);
        }
        const plain = await alone(v3, text, { precision });
        const { vocab_size } = await readConfig(v3);
        expect(meanKl(logits[0]!, plain, vocab_size)).toBeLessThanOrEqual(0.05);
        if (mode === 'low-latency' && payload === 'f32') expect(maxAbs(logits[0]!, plain)).toBe(0);
        if (payload !== 'f32') expect(maxAbs(logits[0]!, plain)).toBeGreaterThan(0);
        await group.close();
      },
    );
  });
});

describe('ranks', () => {
  it('hold their share of the experts, and count the load by logical expert', async () => {
    const single = await openRuntime(v3, SIZES);
    const counts = new Float64Array(3 * 16);
    const onExpertLoad = (layer: number, tokens: Int32Array) => {
      for (const [expert, count] of tokens.entries()) counts[layer * 16 + expert]! += count;
    };
    const group = await LoopbackRanks.open(v3, 4, { placement: redundant(3, 16, 4) }, { onExpertLoad });
    const [first] = group.runtimes;
    expect(first!.weightBytes).toBeLessThan(single.weightBytes);
    await group.step([text, shorter]);
    for (let layer = 0; layer < 3; layer++) {
      const sum = counts.subarray(layer * 16, (layer + 1) * 16).reduce((all, one) => all + one, 0);
      expect(sum).toBe((text.length + shorter.length) * 4);
    }
    expect(first!.exchangeCounters).toBeDefined();
    expect(single.exchangeCounters).toBeUndefined();
    await group.close();
  });

  it('go on after steps in which nobody has tokens', async () => {
    const group = await LoopbackRanks.open(v3, 2, { payload: 'bf16' });
    const before = await group.step([text]);
    await group.step([]);
    await group.step([new Int32Array(0), shorter]);
    expect(maxAbs((await group.step([text]))[0]!, before[0]!)).toBe(0);
    await group.close();
  });

  it('end together when one of them is gone', async () => {
    const group = await LoopbackRanks.open(v3, 2, {}, {});
    await group.runtimes[1]!.close();
    group.communicators[1]!.close();
    await expect(group.runtimes[0]!.forwardAsync(batchOf(text), { timeoutSeconds: 1 })).rejects.toThrow();
    await expect(group.runtimes[1]!.forwardAsync(batchOf(text))).rejects.toMatchObject({
      code: 'model/closed',
    });
    await group.runtimes[0]!.close();
  });

  const plan = redundant(3, 16, 2);
  it.each([
    { name: 'a number of ranks that does not divide', ranks: 3, routing: {} },
    { name: 'a plan of other ranks', ranks: 4, routing: { placement: plan } },
    { name: 'a plan of other layers', ranks: 2, routing: { placement: { ...plan, layers: 4 } } },
    {
      name: 'a plan without an expert',
      ranks: 2,
      routing: { placement: { ...plan, physicalToLogical: plan.physicalToLogical.map(() => 0) } },
    },
    { name: 'an unknown payload', ranks: 2, routing: { payload: 'fp4' as 'fp8' } },
    { name: 'an unknown mode', ranks: 2, routing: { mode: 'ring' as 'direct' } },
  ])('refuse $name', async ({ ranks, routing }) => {
    await expect(LoopbackRanks.open(v3, ranks, routing)).rejects.toMatchObject({ code: 'model/bad-options' });
  });

  it('refuse FP8 for a hidden size that 128 does not divide', async () => {
    await expect(LoopbackRanks.open(v2, 2, { payload: 'fp8' })).rejects.toMatchObject({
      code: 'model/bad-options',
      message: expect.stringContaining('hidden size of 64'),
    });
  });
});
