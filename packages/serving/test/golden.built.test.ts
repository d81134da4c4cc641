import { fixturePath, readFixtureJson } from '@moestack/fixtures';
import { createGateway, type Listening, listen } from '@moestack/serving';
import { createEmbeddedBackend, type EmbeddedBackend } from '@moestack/serving/embedded';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface GreedyText {
  readonly weights: 'bf16' | 'fp8_dequant';
  readonly prompt: string;
  readonly ids: readonly number[];
  readonly text: string;
}

const { greedy } = readFixtureJson<{ greedy: readonly GreedyText[] }>('model/interim-moe/golden.json');
const cases = greedy.filter((entry) => entry.weights === 'fp8_dequant');

let backend: EmbeddedBackend;
let server: Listening;

beforeAll(async () => {
  backend = await createEmbeddedBackend({
    modelDirectory: fixturePath('model/interim-moe/fp8'),
    name: 'interim',
  });
  server = await listen(createGateway({ backend }), { port: 0 });
});

afterAll(async () => {
  await server.close({ drainSeconds: 1 });
  await backend.close();
});

async function complete({ prompt, ids }: GreedyText): Promise<unknown> {
  const response = await fetch(`${server.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'interim', prompt, max_tokens: ids.length, temperature: 0 }),
  });
  return response.json();
}

const answer = ({ ids, text }: GreedyText) => ({
  choices: [{ text, finish_reason: 'length' }],
  usage: { completion_tokens: ids.length },
});

describe('POST /v1/completions on an FP8 model with golden texts', () => {
  it('has golden texts to compare with', () => {
    expect(cases).toHaveLength(3);
  });

  it.each(cases)('continues $prompt as the reference implementation does', async (entry) => {
    expect(await complete(entry)).toMatchObject(answer(entry));
  });

  it('gives the same texts when asked for all at once', async () => {
    expect(await Promise.all(cases.map(complete))).toMatchObject(cases.map(answer));
  });
});
