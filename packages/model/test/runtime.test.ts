import { fileURLToPath } from 'node:url';
import { fixturePath, readFixtureJson } from '@moestack/fixtures';
import { tinyMoe } from '@moestack/tiny-moe';
import { describe, expect, it } from 'vitest';
import { loadModel, type ModelRuntime, openRuntime, type StepBatch } from '../src/index.js';
import { maxAbs, readGolden, tensor } from './golden.js';

const directory = fixturePath('routing-model/tiny-v3');
const prompts = readFixtureJson<{ prompts: number[][] }>('routing-model/tiny-v3/golden.json').prompts;
const first = Int32Array.from(prompts[0]!);
const second = Int32Array.from(prompts[1]!);
const golden = readGolden('routing-model/tiny-v3/golden.safetensors');
const sizes = { blocks: 40, maxBatchTokens: 160, maxSequences: 4 };
const VOCABULARY = 320;

/** A batch of `parts`; sequence `i` owns the physical blocks in `tables[i]`. */
function batchOf(parts: { tokens: Int32Array; start: number; table: number[] }[]): StepBatch {
  const stride = Math.max(...parts.map((part) => part.table.length));
  const offsets = [0];
  for (const part of parts) offsets.push(offsets.at(-1)! + part.tokens.length);
  const blockTables = new Int32Array(parts.length * stride).fill(-1);
  parts.forEach((part, index) => {
    blockTables.set(part.table, index * stride);
  });
  return {
    sequences: parts.length,
    tokens: Int32Array.from(parts.flatMap((part) => [...part.tokens])),
    tokenOffsets: Int32Array.from(offsets),
    contextStarts: Int32Array.from(parts, (part) => part.start),
    blockTables,
    blockTableStride: stride,
  };
}

const scattered = [17, 3, 25, 8, 0, 31];
const others = [5, 30, 1, 2, 9, 12];

function logitsOf(rows: Float32Array, row: number): Float32Array {
  return rows.slice(row * VOCABULARY, (row + 1) * VOCABULARY);
}

describe('ModelRuntime', () => {
  it('gives each sequence of a batch what it gets alone, whatever its blocks and the mix of prefill and decode', async () => {
    const runtime = await openRuntime(directory, sizes);
    const expected = tensor(golden, 'yarn.logits').f32;
    const last = first.length - 1;
    runtime.forward(batchOf([{ tokens: first.subarray(0, last), start: 0, table: scattered }]));
    const mixed = batchOf([
      { tokens: first.subarray(last), start: last, table: scattered },
      { tokens: second, start: 0, table: others },
      { tokens: first.subarray(0, 20), start: 0, table: [20, 21] },
    ]);
    const logits = runtime.forward(mixed).slice(0, 3 * VOCABULARY);
    expect(maxAbs(logitsOf(logits, 0), logitsOf(expected, last))).toBeLessThanOrEqual(1e-4);
    expect(maxAbs(logitsOf(logits, 1), tensor(golden, 'yarn.prompt1.last_logits').f32)).toBeLessThanOrEqual(
      1e-4,
    );
    expect(maxAbs(logitsOf(logits, 2), logitsOf(expected, 19))).toBeLessThanOrEqual(1e-4);
    runtime.close();
  });

  it('caches exactly kv_lora_rank + qk_rope_head_dim values per token and layer', async () => {
    const runtime = await openRuntime(directory, { ...sizes, blocks: 8 });
    const { kv_lora_rank, qk_rope_head_dim, num_hidden_layers } = runtime.config;
    const width = kv_lora_rank + qk_rope_head_dim;
    expect(runtime.blockBytes).toBe(num_hidden_layers * 16 * width * 4);
    runtime.forward(batchOf([{ tokens: first.subarray(0, 20), start: 0, table: [6, 2] }]));
    for (let layer = 0; layer < num_hidden_layers; layer++) {
      const latents = runtime.latents(layer);
      expect(latents.length).toBe(8 * 16 * width);
      for (let block = 0; block < 8; block++) {
        for (let slot = 0; slot < 16; slot++) {
          const row = latents.subarray((block * 16 + slot) * width, (block * 16 + slot + 1) * width);
          const written = block === 6 || (block === 2 && slot < 4);
          expect(
            row.every((value) => value !== 0),
            `block ${block} slot ${slot}`,
          ).toBe(written);
          if (!written) expect(row.every((value) => value === 0)).toBe(true);
        }
      }
    }
    runtime.close();
  });

  it.each(['f32', 'fp8-weights'] as const)(
    'does as much matrix work per token at the end as at the start (%s)',
    async (precision) => {
      const runtime = await openRuntime(directory, { ...sizes, precision });
      const work: { rows: number; macs: number }[] = [];
      for (let position = 0; position < first.length; position++) {
        const { gemmRows, gemmMacs } = runtime.kernels.stats;
        runtime.forward(
          batchOf([{ tokens: first.subarray(position, position + 1), start: position, table: scattered }]),
        );
        const { stats } = runtime.kernels;
        work.push({ rows: stats.gemmRows - gemmRows, macs: stats.gemmMacs - gemmMacs });
      }
      for (const entry of work) expect(entry).toEqual(work[0]);
      runtime.close();
    },
  );

  it('allocates no arrays in a decode step', async () => {
    const runtime = await openRuntime(fileURLToPath(tinyMoe), sizes);
    const parts = [0, 1, 2, 3].map((table) => ({
      tokens: Int32Array.of(table + 5),
      start: 12,
      table: [table],
    }));
    const batch = batchOf(parts);
    for (let i = 0; i < 50; i++) runtime.forward(batch);
    const before = process.memoryUsage();
    const steps = 400;
    for (let i = 0; i < steps; i++) runtime.forward(batch);
    const after = process.memoryUsage();
    // One activation row of this model is 768 bytes, and a step has hundreds; boxed numbers stay below this.
    expect((after.heapUsed - before.heapUsed) / steps).toBeLessThan(4096);
    expect((after.arrayBuffers - before.arrayBuffers) / steps).toBeLessThan(512);
    runtime.close();
  });

  it('moves blocks between runtimes byte for byte', async () => {
    const source = await openRuntime(directory, sizes);
    const target = await openRuntime(directory, sizes);
    const last = first.length - 1;
    source.forward(batchOf([{ tokens: first.subarray(0, last), start: 0, table: scattered }]));
    const blocks = Int32Array.from(scattered);
    const bytes = source.exportBlocks(blocks, blocks.length);
    expect(bytes.byteLength).toBe(blocks.length * source.blockBytes);
    target.importBlocks(Int32Array.from(others), others.length, bytes);
    expect(target.exportBlocks(Int32Array.from(others), others.length)).toEqual(bytes);
    const step = (runtime: ModelRuntime, table: number[]): Float32Array =>
      runtime.forward(batchOf([{ tokens: first.subarray(last), start: last, table }])).slice(0, VOCABULARY);
    expect(step(target, others)).toEqual(step(source, scattered));
    source.close();
    target.close();
  });

  it.each([
    { path: fileURLToPath(tinyMoe), precision: 'fp8-weights' as const },
    { path: fileURLToPath(tinyMoe), precision: 'w8a8' as const },
    { path: fixturePath('routing-model/tiny-v3/fp8'), precision: 'fp8-weights' as const },
    { path: fixturePath('routing-model/tiny-v3-w8a8/fp8'), precision: 'w8a8' as const },
  ])('keeps weights within 1.1 times the checkpoint: $path as $precision', async ({ path, precision }) => {
    const runtime = await openRuntime(path, { ...sizes, precision });
    expect(runtime.weightBytes).toBeGreaterThan(0);
    expect(runtime.weightBytes / runtime.checkpointBytes).toBeLessThanOrEqual(1.1);
    runtime.close();
  });

  it('runs its layers as stages that a caller can schedule', async () => {
    const runtime = await openRuntime(directory, sizes);
    expect(runtime.layers.map((layer) => layer.kind)).toEqual(['dense', 'experts', 'experts', 'experts']);
    const stages = [
      'attentionProject',
      'attentionCore',
      'gate',
      'dispatchSend',
      'dispatchReceive',
      'shared',
      'experts',
      'combineSend',
      'combineReceive',
    ];
    for (const stage of stages) expect(runtime.layers[1]).toHaveProperty(stage);
    runtime.close();
  });

  it('reports progress up to the whole checkpoint', async () => {
    const seen: number[] = [];
    const runtime = await openRuntime(directory, {
      ...sizes,
      onProgress: ({ loadedBytes, totalBytes }) => seen.push(loadedBytes / totalBytes),
    });
    expect(seen.at(-1)).toBe(1);
    expect([...seen].sort((a, b) => a - b)).toEqual(seen);
    runtime.close();
  });

  it('gives the golden hidden states and routing', async () => {
    const runtime = await openRuntime(directory, sizes);
    const { layers } = runtime;
    const hidden = tensor(golden, 'yarn.hidden_first16');
    const width = runtime.config.hidden_size;
    const original = layers.map((layer) => layer.combineReceive.bind(layer));
    const captured: Float32Array[] = [];
    const routed: Int32Array[] = [];
    layers.forEach((layer, index) => {
      layer.combineReceive = (step) => {
        original[index]!(step);
        captured.push(step.workspace.residual.slice(0, 16 * width));
        routed.push(step.workspace.expertIds.slice(0, first.length * 4));
      };
    });
    runtime.forward(batchOf([{ tokens: first, start: 0, table: scattered }]));
    captured.forEach((actual, index) => {
      const expected = hidden.f32.slice(index * 16 * width, (index + 1) * 16 * width);
      expect(maxAbs(actual, expected)).toBeLessThanOrEqual(1e-4);
      const indices = golden.get(`yarn.layer${index}.topk_indices`);
      if (indices !== undefined) expect([...routed[index]!]).toEqual([...indices.i32]);
    });
    expect(captured.length).toBe(4);
    runtime.close();
  });
});

describe('loadModel', () => {
  it('generates the same text for the same seed and another for another', async () => {
    const model = await loadModel(fileURLToPath(tinyMoe));
    const prompt = Int32Array.of(529, 490, 359);
    const run = (seed: number) => model.generate(prompt, { maxTokens: 24, temperature: 1, seed });
    expect(await run(1)).toEqual(await run(1));
    expect(await run(1)).not.toEqual(await run(2));
    await model.close();
  });

  it('ends a generation with the context', async () => {
    const model = await loadModel(directory, { maxContextTokens: 32 });
    const generated = await model.generate(first.subarray(0, 30), { maxTokens: 100 });
    expect(generated.length).toBe(3);
    await model.close();
  });
});
