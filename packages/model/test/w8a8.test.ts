import { fixturePath, readFixtureJson } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import { loadModel } from '../src/index.js';
import { maxAbs, readGolden, tensor } from './golden.js';

const VOCABULARY = 128;
const folder = 'routing-model/tiny-v3-w8a8';
const golden = readFixtureJson<{ prompts: number[][]; variants: Record<string, { greedy: number[][] }> }>(
  `${folder}/golden.json`,
);
const tensors = readGolden(`${folder}/golden.safetensors`);
const prompt = Int32Array.from(golden.prompts[0]!);

/** Positions whose logits are all within 1e-3, and the root of the mean squared error over all logits. */
function compare(actual: Float32Array, expected: Float32Array): { exact: number; rms: number } {
  let exact = 0;
  let squares = 0;
  for (let row = 0; row < prompt.length; row++) {
    let largest = 0;
    for (let i = row * VOCABULARY; i < (row + 1) * VOCABULARY; i++) {
      const difference = Math.abs(actual[i]! - expected[i]!);
      largest = Math.max(largest, difference);
      squares += difference * difference;
    }
    if (largest <= 1e-3) exact++;
  }
  return { exact, rms: Math.sqrt(squares / expected.length) };
}

// The weights are in fp8/ and fp8_ue8m0/; the variants differ in rope_scaling only.
const runs = ['yarn', 'no_yarn'].flatMap((variant) =>
  [
    { path: 'fp8', name: 'w8a8_f32scale' },
    { path: 'fp8_ue8m0', name: 'w8a8_ue8m0' },
  ].map((weights) => ({ variant, ...weights })),
);

function configOf(variant: string): string {
  return variant === 'yarn' ? 'config.json' : '../config.no_yarn.json';
}

describe('tiny-v3-w8a8', () => {
  it.each(['yarn', 'no_yarn'])(
    'matches the dequantised weights of %s without activation quantisation',
    async (variant) => {
      const model = await loadModel(fixturePath(`${folder}/fp8`), { config: configOf(variant) });
      const logits = await model.logits(prompt);
      expect(maxAbs(logits, tensor(tensors, `${variant}.fp8_dequant.logits`).f32)).toBeLessThanOrEqual(1e-4);
      const { greedy } = golden.variants[variant]!;
      for (const [index, tokens] of golden.prompts.entries()) {
        const generated = await model.generate(Int32Array.from(tokens), { maxTokens: greedy[index]!.length });
        const end = greedy[index]!.indexOf(1);
        expect([...generated]).toEqual(end < 0 ? greedy[index] : greedy[index]!.slice(0, end + 1));
      }
      await model.close();
    },
  );

  it('follows the W8A8 recipe: half of all positions exact, an eighth in each run, closer than full activations', async () => {
    let exact = 0;
    for (const { variant, path, name } of runs) {
      // No scale format is passed: config.json names it, config.no_yarn.json leaves it to the weights.
      const options = { config: configOf(variant) };
      const expected = tensor(tensors, `${variant}.${name}.logits`).f32;
      const quantised = await loadModel(fixturePath(`${folder}/${path}`), { ...options, precision: 'w8a8' });
      const full = await loadModel(fixturePath(`${folder}/${path}`), {
        ...options,
        precision: 'fp8-weights',
      });
      const result = compare(await quantised.logits(prompt), expected);
      const baseline = compare(await full.logits(prompt), expected);
      expect(result.exact, `${variant} ${name}`).toBeGreaterThanOrEqual(prompt.length / 8);
      expect(result.rms, `${variant} ${name}`).toBeLessThan(baseline.rms);
      expect(baseline.exact, `${variant} ${name} without quantisation`).toBe(0);
      exact += result.exact;
      await quantised.close();
      await full.close();
    }
    expect(exact).toBeGreaterThanOrEqual((runs.length * prompt.length) / 2);
  });

  it('takes power-of-two scales in the reference places where the configuration says ue8m0', async () => {
    const directory = fixturePath(`${folder}/fp8_ue8m0`);
    const outputs: Float32Array[] = [];
    for (const options of [{}, { w8a8Scale: 'reference' as const }, { w8a8Scale: 'everywhere' as const }]) {
      const model = await loadModel(directory, { precision: 'w8a8', ...options });
      outputs.push(await model.logits(prompt));
      await model.close();
    }
    expect(maxAbs(outputs[0]!, outputs[1]!)).toBe(0);
    expect(maxAbs(outputs[0]!, outputs[2]!)).toBeGreaterThan(1e-3);
  });
});
