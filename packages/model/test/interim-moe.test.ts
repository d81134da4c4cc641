import { readFileSync } from 'node:fs';
import { fixturePath, readFixtureJson } from '@moestack/fixtures';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel, loadTokenizer, type Model, type Tokenizer } from '../src/index.js';
import { logSoftmax, maxAbs, readGolden, tensor } from './golden.js';

interface Golden {
  readonly logits: { token_ids: number[] };
  readonly tokenizer_cases: { text: string; ids: number[] }[];
  readonly greedy: {
    weights: string;
    prompt: string;
    prompt_ids: number[];
    ids: number[];
    text: string;
    min_margin: number;
  }[];
  readonly heldout: Record<string, { tokens_scored: number; bytes_scored: number; bits_per_byte: number }>;
}

const folder = 'model/interim-moe';
const golden = readFixtureJson<Golden>(`${folder}/golden.json`);
const tensors = readGolden(`${folder}/golden.safetensors`);
const ids = Int32Array.from(golden.logits.token_ids);
const passages = readFileSync(fixturePath(`${folder}/heldout.jsonl`), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as { token_ids: number[] })
  .map((passage) => passage.token_ids);

describe.each([
  { weights: 'bf16', directory: fixturePath(folder) },
  { weights: 'fp8_dequant', directory: fixturePath(`${folder}/fp8`) },
])('interim model, $weights', ({ weights, directory }) => {
  let model: Model;
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    model = await loadModel(directory);
    tokenizer = await loadTokenizer(directory);
  });
  afterAll(() => model.close());

  it.each([undefined, 64, 1])('matches the golden logits in chunks of %s', async (chunk) => {
    const logits = await model.logits(ids, chunk === undefined ? {} : { chunk });
    expect(maxAbs(logits, tensor(tensors, `${weights}.logits`).f32)).toBeLessThanOrEqual(1e-4);
  });

  it('continues the golden prompts with the golden text', async () => {
    const cases = golden.greedy.filter((entry) => entry.weights === weights && entry.min_margin >= 1e-3);
    expect(cases.length).toBeGreaterThan(0);
    for (const entry of cases) {
      expect([...tokenizer.encode(entry.prompt)]).toEqual(entry.prompt_ids);
      const generated = await model.generate(Int32Array.from(entry.prompt_ids), {
        maxTokens: entry.ids.length,
      });
      expect([...generated]).toEqual(entry.ids);
      expect(tokenizer.decode(generated)).toBe(entry.text);
    }
  });

  it('encodes and decodes the tokenizer cases', () => {
    for (const { text, ids: expected } of golden.tokenizer_cases) {
      expect([...tokenizer.encode(text)]).toEqual(expected);
      expect(tokenizer.decode(expected)).toBe(text);
    }
  });

  it('scores the held-out passages at the golden bits per byte', async () => {
    const vocabulary = model.config.vocab_size;
    let nats = 0;
    let bytes = 0;
    let tokens = 0;
    for (const passage of passages) {
      const logits = await model.logits(Int32Array.from(passage.slice(0, 256)));
      for (let position = 0; position < 256; position++) {
        const target = passage[position + 1]!;
        nats -= logSoftmax(logits.subarray(position * vocabulary, (position + 1) * vocabulary))[target]!;
        bytes += tokenizer.tokenBytes(target).length;
        tokens++;
      }
    }
    const expected = golden.heldout[weights]!;
    expect(tokens).toBe(expected.tokens_scored);
    expect(bytes).toBe(expected.bytes_scored);
    expect(nats / Math.LN2 / bytes).toBeCloseTo(expected.bits_per_byte, 5);
  });
});
