import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createLoopback } from '@moestack/collectives';
import { fixturePath, readFixtureJson } from '@moestack/fixtures';
import { tinyMoe } from '@moestack/tiny-moe';
import { describe, expect, it } from 'vitest';
import { syntheticConfig, writeSyntheticCheckpoint } from '../bench/synthetic-checkpoint.js';
import { type Overlap, openRuntime, type StepBatch } from '../src/index.js';
import { batchOf, SIZES } from './batches.js';
import { maxAbs, readGolden, tensor } from './golden.js';
import type { TestOptions } from './rank-group.js';

interface Golden {
  readonly prompts: number[][];
  readonly variants: Record<string, { greedy: number[][] }>;
}

/** The golden tolerance plus what another order of additions may add. */
const TOLERANCE = 1e-4;
const v3 = fixturePath('routing-model/tiny-v3');
const v2 = fixturePath('routing-model/tiny-v2-lite');
const tiny = fileURLToPath(tinyMoe);
const text = Int32Array.from({ length: 41 }, (_, i) => (i * 37 + 11) % 96);
const NONE = batchOf(new Int32Array(0));

interface Grid {
  readonly ranks: number;
  readonly tensor: number;
}

async function open(directory: string, { ranks, tensor }: Grid, options: TestOptions = {}, routing = {}) {
  const communicators = createLoopback(ranks);
  const runtimes = await Promise.all(
    communicators.map((communicator) =>
      openRuntime(directory, { ...SIZES, ...options, parallel: { ...routing, communicator, tensor } }),
    ),
  );
  /** One step; each group of ranks that share the heads gets one batch. */
  const step = async (batches: readonly StepBatch[], all = true, overlap: Overlap = 'none') => {
    const logits = await Promise.all(
      runtimes.map(async (runtime, rank) => {
        const batch = batches[Math.floor(rank / tensor)] ?? NONE;
        const rows = all ? batch.tokenOffsets[batch.sequences]! : batch.sequences;
        const found = await runtime.forwardAsync(batch, { all, overlap });
        return found.slice(0, rows * runtime.config.vocab_size);
      }),
    );
    // Each rank of a group has the group's logits.
    for (const [rank, one] of logits.entries()) {
      expect(maxAbs(one, logits[rank - (rank % tensor)]!)).toBe(0);
    }
    return logits.filter((_, rank) => rank % tensor === 0);
  };
  const close = async () => {
    await Promise.all(runtimes.map((runtime) => runtime.close()));
    for (const communicator of communicators) communicator.close();
  };
  return { runtimes, step, close };
}

type Group = Awaited<ReturnType<typeof open>>;

async function greedy(group: Group, prompt: Int32Array, count: number, column = 0): Promise<number[]> {
  const before = Array.from({ length: column }, () => NONE);
  const found: number[] = [];
  let logits = (await group.step([...before, batchOf(prompt)], false))[column]!;
  for (;;) {
    found.push(logits.indexOf(Math.max(...logits)));
    if (found.length === count) return found;
    const next = batchOf(Int32Array.of(found.at(-1)!), prompt.length + found.length - 1);
    logits = (await group.step([...before, next], false))[column]!;
  }
}

async function alone(directory: string, options: TestOptions = {}) {
  const runtime = await openRuntime(directory, { ...SIZES, ...options });
  const logits = runtime.forwardAll(batchOf(text));
  await runtime.close();
  return logits;
}

const grids: (Grid & { folder: string })[] = [
  { folder: 'tiny-v3', ranks: 2, tensor: 2 },
  { folder: 'tiny-v3', ranks: 4, tensor: 4 },
  { folder: 'tiny-v3', ranks: 4, tensor: 2 },
  { folder: 'tiny-v2-lite', ranks: 2, tensor: 2 },
  { folder: 'tiny-v2-lite', ranks: 4, tensor: 2 },
];

describe.each(grids)('$folder, heads over $tensor of $ranks ranks', (grid) => {
  it.each([
    { variant: 'yarn', config: 'config.json' },
    { variant: 'no_yarn', config: 'config.no_yarn.json' },
  ])(
    'matches the logits and greedy tokens of $variant, in one step and in chunks',
    async ({ variant, config }) => {
      const directory = fixturePath(`routing-model/${grid.folder}`);
      const golden = readFixtureJson<Golden>(`routing-model/${grid.folder}/golden.json`);
      const expected = tensor(
        readGolden(`routing-model/${grid.folder}/golden.safetensors`),
        `${variant}.logits`,
      );
      const prompts = golden.prompts.map((tokens) => Int32Array.from(tokens));
      const group = await open(directory, grid, { config, precision: 'f32' });
      expect(maxAbs((await group.step([batchOf(prompts[0]!)]))[0]!, expected.f32)).toBeLessThanOrEqual(
        TOLERANCE,
      );
      const { vocab_size } = group.runtimes[0]!.config;
      for (let start = 0; start < prompts[0]!.length; start += 7) {
        const chunk = prompts[0]!.slice(start, start + 7);
        const logits = (await group.step([batchOf(chunk, start)]))[0]!;
        const part = expected.f32.subarray(start * vocab_size, (start + chunk.length) * vocab_size);
        expect(maxAbs(logits, part)).toBeLessThanOrEqual(TOLERANCE);
      }
      const columns = grid.ranks / grid.tensor;
      for (let column = 0; column < columns; column++) {
        const tokens = golden.variants[variant]!.greedy[column]!;
        expect(await greedy(group, prompts[column]!, tokens.length, column)).toEqual(tokens);
      }
      expect(group.runtimes[0]!.tensorCounters).toBeDefined();
      await group.close();
    },
  );
});

describe.each([
  { directory: `${v3}/fp8`, precision: 'fp8-weights' as const, tensor: 4 },
  { directory: `${v2}/fp8`, precision: 'fp8-weights' as const, tensor: 2 },
  // Rows and columns of a rank begin inside blocks of scales.
  { directory: v3, precision: 'fp8-weights' as const, tensor: 2 },
  { directory: tiny, precision: 'fp8-weights' as const, tensor: 4 },
  { directory: tiny, precision: 'f32' as const, tensor: 2 },
])('$directory in $precision, heads over $tensor ranks', ({ directory, precision, tensor }) => {
  it.each(['naive', 'absorbed'] as const)('gives the logits of one rank, %s', async (attention) => {
    const group = await open(directory, { ranks: 4, tensor }, { precision, attention });
    const expected = await alone(directory, { precision, attention });
    const batches = Array.from({ length: 4 / tensor }, () => batchOf(text));
    for (const logits of await group.step(batches)) {
      expect(maxAbs(logits, expected)).toBeLessThanOrEqual(TOLERANCE);
    }
    await group.close();
  });

  it('gives the greedy tokens of one rank', async () => {
    const group = await open(directory, { ranks: 4, tensor }, { precision });
    const single = await open(directory, { ranks: 1, tensor: 1 }, { precision });
    expect(await greedy(group, text, 12)).toEqual(await greedy(single, text, 12));
    await group.close();
    await single.close();
  });
});

describe('heads over ranks', () => {
  it('hold fewer weights, cache every token, and move blocks to ranks with all heads', async () => {
    const group = await open(v3, { ranks: 2, tensor: 2 });
    const whole = await open(v3, { ranks: 2, tensor: 1 });
    expect(group.runtimes[0]!.weightBytes).toBeLessThan(whole.runtimes[0]!.weightBytes);
    await group.step([batchOf(text)]);
    const blocks = Int32Array.of(0, 1, 2);
    const [first, second] = group.runtimes.map((runtime) => runtime.exportBlocks(blocks, 3));
    expect(first).toEqual(second);
    whole.runtimes[0]!.importBlocks(blocks, 3, first!);
    const next = batchOf(Int32Array.of(5), text.length);
    const moved = (await whole.step([next]))[0]!;
    expect(maxAbs((await group.step([next]))[0]!, moved)).toBeLessThanOrEqual(TOLERANCE);
    await group.close();
    await whole.close();
  });

  it.each([
    { mode: 'low-latency', payload: 'f32' },
    { mode: 'hierarchical', payload: 'f32' },
  ] as const)('works with $mode dispatch', async (routing) => {
    const group = await open(v3, { ranks: 4, tensor: 2 }, {}, routing);
    const expected = await alone(v3);
    expect(maxAbs((await group.step([batchOf(text), batchOf(text)]))[1]!, expected)).toBeLessThanOrEqual(
      TOLERANCE,
    );
    await group.close();
  });

  it('gives the bits of one batch to two micro-batches, and the logits of bfloat16 activations', async () => {
    const sizes = { microBatches: 2, precision: 'bf16' } as const;
    const group = await open(v3, { ranks: 4, tensor: 2 }, { ...sizes, ...PAIR });
    const batches = [pairOf(20, 7), pairOf(1, 1)];
    const expected = await group.step(batches);
    for (const overlap of ['prefill', 'decode'] as const) {
      const found = await group.step(batches, true, overlap);
      for (const [i, logits] of found.entries()) expect(maxAbs(logits, expected[i]!)).toBe(0);
    }
    const single = await openRuntime(v3, { ...SIZES, ...sizes, ...PAIR });
    // Sums in another order can be rounded to another bfloat16: 2^-8 of values around 4, over four layers.
    expect(maxAbs(single.forwardAll(pairOf(20, 7)), expected[0]!)).toBeLessThanOrEqual(0.1);
    await single.close();
    await group.close();
  });

  it('notices that ranks of a group got different batches', async () => {
    const communicators = createLoopback(2);
    const [a, b] = await Promise.all(
      communicators.map((communicator) =>
        openRuntime(v3, { ...SIZES, parallel: { communicator, tensor: 2 } }),
      ),
    );
    const wait = { timeoutSeconds: 1 };
    const results = await Promise.allSettled([
      a!.forwardAsync(batchOf(text), wait),
      b!.forwardAsync(batchOf(text.slice(0, 20)), wait),
    ]);
    expect(results.some((one) => one.status === 'rejected' && one.reason.code === 'model/out-of-step')).toBe(
      true,
    );
    for (const communicator of communicators) communicator.close();
  });

  it.each([
    { name: 'ranks that it does not divide', ranks: 4, tensor: 3 },
    { name: 'heads that it does not divide', ranks: 8, tensor: 8 },
    { name: 'no whole number', ranks: 2, tensor: 1.5 },
    { name: 'zero', ranks: 2, tensor: 0 },
  ])('refuses $name', async ({ ranks, tensor }) => {
    await expect(open(v3, { ranks, tensor })).rejects.toMatchObject({
      code: 'model/bad-options',
      message: expect.stringContaining('for tensor'),
    });
  });

  it('quantises the activations of one rank where 128 divides its part of them', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'moestack-tensor-'));
    const small = {
      hidden_size: 256,
      intermediate_size: 256,
      moe_intermediate_size: 128,
      num_hidden_layers: 2,
    };
    writeSyntheticCheckpoint(directory, { ...syntheticConfig, ...small, num_attention_heads: 4 });
    const expected = await alone(directory, { precision: 'w8a8' });
    const group = await open(directory, { ranks: 2, tensor: 2 }, { precision: 'w8a8' });
    // As over experts: a sum in another order can flip a rounding of 2^-4.
    expect(maxAbs((await group.step([batchOf(text)]))[0]!, expected)).toBeLessThanOrEqual(2e-2);
    await group.close();
    rmSync(directory, { recursive: true });
  });

  it('refuses W8A8 where ranks would share a tile of activations', async () => {
    const directory = fixturePath('routing-model/tiny-v3-w8a8/fp8');
    await expect(open(directory, { ranks: 2, tensor: 2 }, { precision: 'w8a8' })).rejects.toMatchObject({
      code: 'model/bad-options',
      message: expect.stringContaining('multiple of 128 attention outputs (here 64)'),
    });
  });
});

const PAIR = { maxSequences: 2, blocks: 16 };

function pairOf(first: number, second: number): StepBatch {
  return {
    sequences: 2,
    tokens: text.slice(0, first + second),
    tokenOffsets: Int32Array.of(0, first, first + second),
    contextStarts: Int32Array.of(0, 0),
    blockTables: Int32Array.from({ length: 16 }, (_, block) => block),
    blockTableStride: 8,
  };
}
