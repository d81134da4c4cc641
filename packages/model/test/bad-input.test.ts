import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fixturePath } from '@moestack/fixtures';
import { AbortedError, MoestackError } from '@moestack/schemas/errors';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  loadModel,
  loadTokenizer,
  ModelError,
  openRuntime,
  readGenerationConfig,
  type StepBatch,
} from '../src/index.js';

const source = fixturePath('routing-model/tiny-v2-lite');
const sizes = { blocks: 8, maxBatchTokens: 32, maxSequences: 2 };
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'moestack-model-'));
  for (const file of ['config.json', 'model.safetensors']) cpSync(join(source, file), join(directory, file));
});
afterEach(() => rmSync(directory, { recursive: true }));

async function failure(promise: Promise<unknown>): Promise<MoestackError> {
  try {
    await promise;
  } catch (error) {
    if (MoestackError.isInstance(error)) {
      expect(error.remedy.length).toBeGreaterThan(0);
      return error;
    }
    throw error;
  }
  throw new Error('expected an error');
}

function editConfig(change: Record<string, unknown>): void {
  const file = join(directory, 'config.json');
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...change }));
}

/** Rewrites the safetensors header; lengths must stay what they are. */
function editHeader(edit: (header: string) => string): void {
  const path = join(directory, 'model.safetensors');
  const file = readFileSync(path);
  const length = Number(file.readBigUInt64LE(0));
  const header = edit(file.toString('utf8', 8, 8 + length));
  file.write(header.padEnd(length), 8, length);
  writeFileSync(path, file);
}

describe('a checkpoint', () => {
  it('that is truncated is refused before anything is loaded', async () => {
    truncateSync(join(directory, 'model.safetensors'), 200_000);
    expect((await failure(loadModel(directory))).code).toMatch(/^fp8\//);
  });

  it('without weights or configuration is refused, naming the file', async () => {
    rmSync(join(directory, 'model.safetensors'));
    expect((await failure(loadModel(directory))).code).toMatch(/^fp8\//);
    rmSync(join(directory, 'config.json'));
    const error = await failure(loadModel(directory));
    expect(error.code).toBe('model/missing-file');
    expect(error.message).toContain('config.json');
  });

  it('with a broken configuration is refused', async () => {
    writeFileSync(join(directory, 'config.json'), '{"model_type": ');
    expect((await failure(loadModel(directory))).code).toBe('model/bad-config');
  });

  it('of another architecture is refused', async () => {
    editConfig({ model_type: 'qwen3_moe', architectures: ['Qwen3MoeForCausalLM'] });
    const error = await failure(loadModel(directory));
    expect(error.code).toBe('model/unsupported-config');
    expect(error.value).toBe('qwen3_moe');
  });

  it('whose shapes belong to another configuration is refused', async () => {
    editConfig({ intermediate_size: 128 });
    const error = await failure(loadModel(directory));
    expect(error.code).toBe('model/bad-tensor');
    expect(error.message).toContain('model.layers.0.mlp');
  });

  it('that lacks a tensor is refused, naming it', async () => {
    editHeader((header) =>
      header.replace('model.layers.2.mlp.experts.7.up_proj', 'model.layers.2.mlp.experts.x.up_proj'),
    );
    const error = await failure(loadModel(directory));
    expect(error.code).toBe('model/missing-tensor');
    expect(error.value).toBe('model.layers.2.mlp.experts.7.up_proj.weight');
  });

  it('with a dtype that cannot be loaded is refused', async () => {
    editHeader((header) => header.replace(/("model\.norm\.weight":\{[^}]*"dtype":)"BF16"/, '$1"F16" '));
    const error = await failure(loadModel(directory));
    expect(['model/bad-tensor']).toContain(error.code);
  });

  it('with FP8 weights but no scales is refused', async () => {
    for (const file of ['config.json', 'model.safetensors'])
      cpSync(join(source, 'fp8', file), join(directory, file));
    editHeader((header) =>
      header.replace(
        'model.layers.0.mlp.up_proj.weight_scale_inv',
        'model.layers.0.mlp.up_proj.weight_scale_xxx',
      ),
    );
    expect((await failure(loadModel(directory))).message).toContain('up_proj.weight');
  });

  it('with layers beyond num_hidden_layers loads without them', async () => {
    editConfig({ num_hidden_layers: 2 });
    const model = await loadModel(directory);
    expect(model.runtime.layers.length).toBe(2);
    await model.close();
  });

  it('with a tied head needs no lm_head and keeps one copy of the table', async () => {
    editHeader((header) => header.replace('"lm_head.weight"', '"xx_head.weight"'));
    expect((await failure(loadModel(directory))).value).toBe('lm_head.weight');
    editConfig({ tie_word_embeddings: true });
    const model = await loadModel(directory);
    const logits = await model.logits(Int32Array.of(3, 5));
    expect(logits.every(Number.isFinite)).toBe(true);
    expect(model.runtime.weightBytes).toBeLessThanOrEqual(1.1 * model.runtime.checkpointBytes);
    await model.close();
  });

  it('too large for one memory is refused, naming the size', async () => {
    const error = await failure(openRuntime(source, { ...sizes, blocks: 1 << 23 }));
    expect(error.code).toBe('kernels/memory-limit');
    expect(error.message).toMatch(/\d{10,}/);
  });
});

describe('options', () => {
  it.each([
    [{ precision: 'int4' }, 'model/bad-options'],
    [{ attention: 'flash' }, 'model/bad-options'],
    [{ precision: 'w8a8', attention: 'naive' }, 'model/unsupported-precision'],
    [{ ranks: 65 }, 'model/bad-options'],
    [{ maxContextTokens: 0 }, 'model/bad-options'],
    [{ maxContextTokens: 1 << 20 }, 'model/bad-options'],
    [{ config: 'absent.json' }, 'model/missing-file'],
  ])('%j are refused', async (options, code) => {
    expect((await failure(loadModel(source, options as object))).code).toBe(code);
  });

  it.each(['blocks', 'maxBatchTokens', 'maxSequences', 'blockSizeTokens'])(
    '%s must be a positive whole number',
    async (name) => {
      for (const value of [0, -1, 1.5, Number.NaN]) {
        expect((await failure(openRuntime(source, { ...sizes, [name]: value }))).code).toBe(
          'model/bad-options',
        );
      }
    },
  );

  it('an aborted signal ends loading', async () => {
    const promise = openRuntime(source, { ...sizes, signal: AbortSignal.abort() });
    await expect(promise).rejects.toBeInstanceOf(AbortedError);
  });
});

describe('tokens', () => {
  it('outside the vocabulary or the context are refused', async () => {
    const model = await loadModel(source, { maxContextTokens: 16 });
    const tooLong = await failure(model.logits(new Int32Array(17)));
    expect([tooLong.code, tooLong.value]).toEqual(['model/context-too-long', 17]);
    expect((await failure(model.generate(new Int32Array(17), { maxTokens: 1 }))).code).toBe(
      'model/context-too-long',
    );
    for (const token of [-1, 96]) {
      const error = await failure(model.logits(Int32Array.of(1, token)));
      expect([error.code, error.value]).toEqual(['model/bad-token', token]);
    }
    expect((await failure(model.generate(new Int32Array(0), { maxTokens: 1 }))).code).toBe(
      'model/bad-options',
    );
    expect((await failure(model.generate(Int32Array.of(1), { maxTokens: -1 }))).code).toBe(
      'model/bad-options',
    );
    expect((await failure(model.generate(Int32Array.of(1), { maxTokens: 1, temperature: -1 }))).code).toBe(
      'model/bad-sampling',
    );
    expect((await failure(model.logits(Int32Array.of(1), { chunk: 0 }))).code).toBe('model/bad-options');
    expect((await model.logits(new Int32Array(0))).length).toBe(0);
    await model.close();
    expect((await failure(model.logits(Int32Array.of(1)))).code).toBe('model/closed');
  });
});

describe('a batch', () => {
  const good: StepBatch = {
    sequences: 2,
    tokens: Int32Array.of(1, 2, 3),
    tokenOffsets: Int32Array.of(0, 2, 3),
    contextStarts: Int32Array.of(0, 0),
    blockTables: Int32Array.of(0, 1),
    blockTableStride: 1,
  };

  it.each<[string, Partial<StepBatch>, string]>([
    ['more sequences than opened for', { sequences: 3 }, 'model/bad-batch'],
    ['a negative number of sequences', { sequences: -1 }, 'model/bad-batch'],
    ['an empty sequence', { tokenOffsets: Int32Array.of(0, 3, 3) }, 'model/bad-batch'],
    ['offsets that do not begin at 0', { tokenOffsets: Int32Array.of(1, 2, 3) }, 'model/bad-batch'],
    ['more tokens than opened for', { tokenOffsets: Int32Array.of(0, 2, 40) }, 'model/bad-batch'],
    ['fewer tokens than offsets say', { tokenOffsets: Int32Array.of(0, 2, 9) }, 'model/bad-batch'],
    ['a block table that is too short', { contextStarts: Int32Array.of(15, 0) }, 'model/bad-batch'],
    ['a block outside the pool', { blockTables: Int32Array.of(0, 8) }, 'model/bad-blocks'],
    ['a missing block', { blockTables: Int32Array.of(-1, 0) }, 'model/bad-blocks'],
    ['more context than opened for', { contextStarts: Int32Array.of(200, 0) }, 'model/context-too-long'],
    ['a token outside the vocabulary', { tokens: Int32Array.of(1, 2, 99) }, 'model/bad-token'],
  ])('with %s is refused before the cache changes', async (_, change, code) => {
    const runtime = await openRuntime(source, sizes);
    const before = runtime.exportBlocks(Int32Array.of(0, 1), 2);
    try {
      runtime.forward({ ...good, ...change });
      expect.unreachable();
    } catch (error) {
      expect(ModelError.isInstance(error) && error.code).toBe(code);
    }
    expect(runtime.exportBlocks(Int32Array.of(0, 1), 2)).toEqual(before);
    runtime.close();
  });

  it('of no sequences gives no logits', async () => {
    const runtime = await openRuntime(source, sizes);
    expect(runtime.forwardAll({ ...good, sequences: 0 }).length).toBe(0);
    runtime.close();
  });

  it('cannot import blocks of another size', async () => {
    const runtime = await openRuntime(source, sizes);
    const short = new Uint8Array(runtime.blockBytes - 1);
    expect(() => runtime.importBlocks(Int32Array.of(0), 1, short)).toThrow(/at least/);
    expect(() => runtime.importBlocks(Int32Array.of(8), 1, new Uint8Array(runtime.blockBytes))).toThrow(
      /block ids/,
    );
    expect(() => runtime.exportBlocks(Int32Array.of(0), 2)).toThrow(/at least/);
    runtime.close();
  });
});

describe('tokenizer files', () => {
  it('that are absent or broken give typed errors', async () => {
    expect((await failure(loadTokenizer(source))).code).toBe('model/missing-file');
    writeFileSync(join(directory, 'tokenizer.json'), '{');
    expect((await failure(loadTokenizer(directory))).code).toBe('model/bad-tokenizer');
    for (const json of [
      '[]',
      '{"model":{}}',
      '{"model":{"type":"Nonsense","vocab":{}}}',
      '{"added_tokens":3,"model":{}}',
    ]) {
      writeFileSync(join(directory, 'tokenizer.json'), json);
      expect((await failure(loadTokenizer(directory))).code, json).toBe('model/bad-tokenizer');
    }
  });

  it('leave the generation configuration optional', async () => {
    expect(await readGenerationConfig(directory)).toEqual({});
    writeFileSync(join(directory, 'generation_config.json'), '{"temperature": "hot"}');
    expect((await failure(readGenerationConfig(directory))).code).toBe('model/bad-config');
  });
});
