import { describe, expect, it } from 'vitest';
import { detectGpt, detectGptFrom, dnaGpt, fillSpans, maskSpans, npr, nprFrom } from './perturbation.js';

const text = 'one two three four five six';
/** Longer texts are less likely here. */
const likelihood = async (value: string): Promise<number> => -value.length / 10;

describe('perturbation detectors', () => {
  it('score a text against the versions that a perturber makes', async () => {
    const perturber = {
      perturb: async (value: string, { count }: { count: number }) =>
        Array.from({ length: count }, (_, i) => value + 'x'.repeat(i + 1)),
    };
    const { d, z } = await detectGpt(text, { likelihood, perturber }, { count: 3 });
    expect(d).toBeCloseTo(0.2, 12);
    expect(z).toBeCloseTo(0.2 / Math.sqrt(0.02 / 3), 10);
    const logRank = async (value: string): Promise<number> => value.length;
    expect(await npr(text, { logRank, perturber }, { count: 3 })).toBeCloseTo(
      (text.length + 2) / text.length,
      12,
    );
  });

  it('regenerate the second half for DNA-GPT', async () => {
    const prefixes: string[] = [];
    const regenerator = {
      regenerate: async (prefix: string, { count }: { count: number }) => {
        prefixes.push(prefix);
        return Array.from({ length: count }, () => `${prefix} and so on`);
      },
    };
    const score = await dnaGpt(text, { likelihood, regenerator });
    expect(prefixes).toEqual(['one two three']);
    expect(score).toBeCloseTo(-text.length / 10 + 'one two three and so on'.length / 10, 12);
    await expect(dnaGpt('word', { likelihood, regenerator })).rejects.toThrow('at least 2');
  });

  it('stop when aborted, and have no 0/0', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    const perturber = { perturb: async () => [text] };
    await expect(detectGpt(text, { likelihood, perturber }, { signal })).rejects.toThrow('enough');
    expect(detectGptFrom(-2, [-2, -2])).toEqual({ d: 0, z: 0 });
    expect(nprFrom(0, [0, 0])).toBe(1);
    expect(nprFrom(0, [1])).toBe(Infinity);
    expect(() => detectGptFrom(-Infinity, [-Infinity])).toThrow('expected a defined DetectGPT score');
    expect(() => nprFrom(1, [])).toThrow('at least 1');
  });

  it('mask a share of the words in separate spans', () => {
    let state = 1;
    const random = (): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    const words = Array.from({ length: 100 }, (_, i) => `w${i}`);
    const { text: masked, spans } = maskSpans(words.join(' '), { random });
    // 0.3 * 100 / (2 + 2 * 1), the published count.
    expect(spans).toBe(7);
    expect(masked.split(' ').length).toBe(100 - spans);
    expect(masked).not.toMatch(/<extra_id_\d+> <extra_id/);
    expect(fillSpans('a <extra_id_0> b <extra_id_1>', ['x'])).toBe('a x b ');
    expect(maskSpans('tiny', { random })).toEqual({ text: 'tiny', spans: 0 });
  });
});
