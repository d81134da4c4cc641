import { fixturePath, readFixtureJson } from '@moestack/fixtures';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LoadModelOptions, loadModel, type Model } from '../src/index.js';
import { maxAbs, meanKl, readGolden, tensor } from './golden.js';

interface Golden {
  readonly prompts: number[][];
  readonly prefill_len: number;
  readonly variants: Record<string, { greedy: number[][]; softmax_scale: number; inv_freq: number[] }>;
}

const TOLERANCE = 1e-4;
const variants = [
  { variant: 'yarn', config: 'config.json' },
  { variant: 'no_yarn', config: 'config.no_yarn.json' },
];
const modes: { name: string; options: LoadModelOptions; chunks: (number | undefined)[] }[] = [
  { name: 'default attention', options: {}, chunks: [undefined, 1, 7] },
  { name: 'naive attention', options: { attention: 'naive' }, chunks: [undefined, 1, 16] },
  { name: 'absorbed attention', options: { attention: 'absorbed' }, chunks: [undefined, 1, 16] },
];

function untilEnd(tokens: readonly number[], end: number): number[] {
  const index = tokens.indexOf(end);
  return index < 0 ? [...tokens] : tokens.slice(0, index + 1);
}

describe.each(['tiny-v3', 'tiny-v2-lite'])('%s', (folder) => {
  const directory = fixturePath(`routing-model/${folder}`);
  const golden = readFixtureJson<Golden>(`routing-model/${folder}/golden.json`);
  const tensors = readGolden(`routing-model/${folder}/golden.safetensors`);
  const prompt = Int32Array.from(golden.prompts[0]!);
  const second = Int32Array.from(golden.prompts[1]!);

  describe.each(variants)('$variant', ({ variant, config }) => {
    describe.each(modes)('$name', ({ options, chunks }) => {
      let model: Model;
      beforeAll(async () => {
        model = await loadModel(directory, { ...options, config, precision: 'f32' });
      });
      afterAll(() => model.close());

      it.each(chunks)('matches every logit in chunks of %s', async (chunk) => {
        const logits = await model.logits(prompt, chunk === undefined ? {} : { chunk });
        expect(maxAbs(logits, tensor(tensors, `${variant}.logits`).f32)).toBeLessThanOrEqual(TOLERANCE);
      });

      it('matches the last logits of a second prompt, after prefill and single steps', async () => {
        const { vocab_size } = model.config;
        const expected = tensor(tensors, `${variant}.prompt1.last_logits`).f32;
        for (const chunk of [second.length, 1]) {
          const logits = await model.logits(second, { chunk });
          expect(maxAbs(logits.slice(-vocab_size), expected)).toBeLessThanOrEqual(TOLERANCE);
        }
      });

      it('continues both prompts greedily with the golden tokens', async () => {
        const { greedy } = golden.variants[variant]!;
        for (const [index, tokens] of [prompt, second].entries()) {
          const expected = greedy[index]!;
          const generated = await model.generate(tokens, { maxTokens: expected.length });
          expect([...generated]).toEqual(untilEnd(expected, 1));
        }
      });
    });
  });

  describe.each([
    { name: 'FP8 checkpoint', path: 'fp8', precision: undefined },
    { name: 'FP8 checkpoint expanded to float32', path: 'fp8', precision: 'f32' as const },
    { name: 'BF16 checkpoint quantised while loading', path: '.', precision: 'fp8-weights' as const },
  ])('$name', ({ path, precision }) => {
    it.each([undefined, 1, 16])('matches every logit in chunks of %s', async (chunk) => {
      const options = precision === undefined ? {} : { precision };
      const model = await loadModel(`${directory}/${path}`, options);
      const logits = await model.logits(prompt, chunk === undefined ? {} : { chunk });
      expect(maxAbs(logits, tensor(tensors, 'yarn.fp8_dequant.logits').f32)).toBeLessThanOrEqual(TOLERANCE);
      await model.close();
    });
  });

  it('stays close to float32 in bfloat16', async () => {
    const model = await loadModel(directory, { precision: 'bf16' });
    const logits = await model.logits(prompt);
    const reference = tensor(tensors, 'yarn.logits').f32;
    expect(meanKl(logits, reference, model.config.vocab_size)).toBeLessThanOrEqual(0.05);
    await model.close();
  });
});
