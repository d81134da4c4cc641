import { fileURLToPath } from 'node:url';
import { fixturePath, readFixtureJson } from '@moestack/fixtures';
import { loadModel, type Model, openRuntime } from '@moestack/model';
import { tinyMoe } from '@moestack/tiny-moe';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { batchOf, SIZES } from './batches.js';
import { maxAbs, readGolden, tensor } from './golden.js';

interface Golden {
  readonly prompts: number[][];
  readonly variants: Record<string, { greedy: number[][] }>;
}
const v3 = fixturePath('routing-model/tiny-v3');
const tiny = fileURLToPath(tinyMoe);
const text = Int32Array.from({ length: 40 }, (_, i) => (i * 37 + 11) % 96);

/** The golden runs go on behind the end of the text. */
function untilEnd(tokens: readonly number[]): readonly number[] {
  const end = tokens.indexOf(1);
  return end < 0 ? tokens : tokens.slice(0, end + 1);
}

describe.each([
  { folder: 'tiny-v3', ranks: 2 },
  { folder: 'tiny-v3', ranks: 4 },
  { folder: 'tiny-v2-lite', ranks: 4 },
])('$folder on $ranks threads', ({ folder, ranks }) => {
  const golden = readFixtureJson<Golden>(`routing-model/${folder}/golden.json`);
  const tensors = readGolden(`routing-model/${folder}/golden.safetensors`);
  let model: Model;
  beforeAll(async () => {
    model = await loadModel(fixturePath(`routing-model/${folder}`), { ranks, precision: 'f32' });
  });
  afterAll(() => model.close());

  it.each([undefined, 1, 7])('matches every logit in chunks of %s', async (chunk) => {
    const logits = await model.logits(
      Int32Array.from(golden.prompts[0]!),
      chunk === undefined ? {} : { chunk },
    );
    expect(maxAbs(logits, tensor(tensors, 'yarn.logits').f32)).toBeLessThanOrEqual(1e-4);
  });

  it('continues both prompts greedily, also when asked at the same time', async () => {
    const expected = golden.variants['yarn']!.greedy;
    const generated = await Promise.all(
      expected.map((tokens, i) =>
        model.generate(Int32Array.from(golden.prompts[i]!), { maxTokens: tokens.length }),
      ),
    );
    expect(generated.map((tokens) => [...tokens])).toEqual(expected.map(untilEnd));
  });
});

describe('the default model on threads', () => {
  it.each([2, 4])('continues as on one, on %s', async (ranks) => {
    const [one, several] = await Promise.all([loadModel(tiny), loadModel(tiny, { ranks })]);
    const options = { maxTokens: 24 };
    expect(await several.generate(text, options)).toEqual(await one.generate(text, options));
    await Promise.all([one.close(), several.close()]);
  });

  it('samples as on one, from the same seed', async () => {
    const [one, several] = await Promise.all([loadModel(tiny), loadModel(tiny, { ranks: 2 })]);
    const options = { maxTokens: 24, temperature: 0.9, seed: 7 };
    expect(await several.generate(text, options)).toEqual(await one.generate(text, options));
    await Promise.all([one.close(), several.close()]);
  });
});

describe('heads over threads', () => {
  it.each([
    { folder: 'tiny-v3', ranks: 2, tensor: 2 },
    { folder: 'tiny-v3', ranks: 4, tensor: 4 },
    { folder: 'tiny-v2-lite', ranks: 4, tensor: 2 },
  ])(
    'give the golden logits and tokens of $folder: $tensor of $ranks',
    async ({ folder, ranks, tensor: heads }) => {
      const golden = readFixtureJson<Golden>(`routing-model/${folder}/golden.json`);
      const tensors = readGolden(`routing-model/${folder}/golden.safetensors`);
      const options = { ranks, tensor: heads, precision: 'f32' as const };
      const model = await loadModel(fixturePath(`routing-model/${folder}`), options);
      const prompt = Int32Array.from(golden.prompts[0]!);
      for (const chunk of [{}, { chunk: 5 }]) {
        const logits = await model.logits(prompt, chunk);
        expect(maxAbs(logits, tensor(tensors, 'yarn.logits').f32)).toBeLessThanOrEqual(1e-4);
      }
      const expected = golden.variants['yarn']!.greedy[0]!;
      const generated = await model.generate(prompt, { maxTokens: expected.length });
      expect([...generated]).toEqual(untilEnd(expected));
      await model.close();
    },
  );

  it('are refused before a thread starts where they do not divide', async () => {
    for (const options of [
      { ranks: 4, tensor: 3 },
      { ranks: 8, tensor: 8 },
      { ranks: 1, tensor: 2 },
    ]) {
      await expect(loadModel(v3, options)).rejects.toMatchObject({
        code: 'model/bad-options',
        message: expect.stringContaining('for tensor'),
      });
    }
  });
});

describe('several ranks', () => {
  it.each([
    { mode: 'direct', payload: 'bf16' },
    { mode: 'low-latency', payload: 'fp8' },
  ] as const)('have the bits of the emulation: $mode, $payload', async (routing) => {
    const model = await loadModel(v3, { ranks: 4, routing, precision: 'f32', maxContextTokens: 96 });
    const runtime = await openRuntime(v3, { ...SIZES, precision: 'f32', emulate: { ...routing, ranks: 4 } });
    expect(maxAbs(await model.logits(text), runtime.forwardAll(batchOf(text)))).toBe(0);
    await model.close();
  });

  it('report the progress of all', async () => {
    const seen: number[] = [];
    const model = await loadModel(v3, {
      ranks: 2,
      onProgress: ({ loadedBytes, totalBytes }) => seen.push(loadedBytes / totalBytes),
    });
    expect(seen.at(-1)).toBe(1);
    expect(() => model.runtime).toThrow(expect.objectContaining({ code: 'model/no-runtime' }));
    await model.close();
    await model.close();
    await expect(model.logits(text)).rejects.toMatchObject({ code: 'model/closed' });
  });

  it.each([
    { ranks: 3, says: /a divisor of the 16 experts/ },
    { ranks: 0, says: /ranks/ },
    { ranks: 1.5, says: /ranks/ },
    { ranks: 1000, says: /from 1 to 64/ },
  ])('refuse $ranks ranks before a thread starts', async ({ ranks, says }) => {
    await expect(loadModel(v3, { ranks })).rejects.toMatchObject({
      code: 'model/bad-options',
      message: expect.stringMatching(says),
    });
  });

  it('hand on what a rank refuses, and end', async () => {
    await expect(loadModel(v3, { ranks: 2, precision: 'int4' as 'f32' })).rejects.toMatchObject({
      code: 'model/bad-options',
    });
    await expect(loadModel('/nowhere', { ranks: 2 })).rejects.toMatchObject({ code: 'model/missing-file' });
    await expect(loadModel(v3, { ranks: 2, signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortedError',
    });
  });
});
