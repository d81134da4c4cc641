import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { ChatOpenAI } from '@langchain/openai';
import { createGateway, type Gateway, type Listening, listen } from '@moestack/serving';
import { createEmbeddedBackend, type EmbeddedBackend } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
import { generateText, streamText } from 'ai';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { curl, hasCurl } from './curl.js';
import { parseExposition } from './exposition.js';

let backend: EmbeddedBackend;
let gateway: Gateway;
let server: Listening;
let client: OpenAI;

beforeAll(async () => {
  backend = await createEmbeddedBackend({ modelDirectory: tinyMoe, name: 'tiny-moe' });
  gateway = createGateway({ backend });
  server = await listen(gateway, { port: 0 });
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
});

afterAll(async () => {
  await server.close({ drainSeconds: 1 });
  await backend.close();
});

const model = 'tiny-moe';

/** A figure of the engine, by name and, where there are several, stage. */
async function metric(name: string, stage?: string): Promise<number> {
  const families = parseExposition(await (await fetch(`${server.url}/metrics`)).text());
  for (const { samples } of families.values()) {
    const found = samples.find((sample) => sample.name === name && sample.labels['stage'] === stage);
    if (found !== undefined) return found.value;
  }
  return Number.NaN;
}

async function stream(
  body: Omit<OpenAI.CompletionCreateParamsStreaming, 'model' | 'stream'>,
): Promise<string> {
  let text = '';
  const chunks = await client.completions.create({ model, ...body, stream: true });
  for await (const chunk of chunks) text += chunk.choices[0]?.text ?? '';
  return text;
}

const subjects = ['people', 'King', 'ship', 'house', 'war', 'law', 'river', 'church'];
const openings = ['The', 'In those days the', 'He said that the', 'It was a dark night; the'];
const prompts = openings.flatMap((opening) => subjects.map((subject) => `${opening} ${subject}`));

describe('the openai client on the real model', () => {
  it('completes, chats, streams and lists models', async () => {
    const completion = await client.completions.create({
      model,
      prompt: 'The people',
      max_tokens: 12,
      temperature: 0,
    });
    const text = completion.choices[0]?.text ?? '';
    expect(text.length).toBeGreaterThan(8);
    expect(completion.usage).toMatchObject({ completion_tokens: 12 });
    expect(await stream({ prompt: 'The people', max_tokens: 12, temperature: 0 })).toBe(text);
    const chat = await client.chat.completions.create({
      model,
      messages: [{ role: 'user', content: 'The people' }],
      max_tokens: 12,
      temperature: 0,
    });
    expect(chat.choices[0]?.message.content).toBe(text);
    expect((await client.models.list()).data.map((card) => card.id)).toEqual([model]);
  });

  it('gives 32 concurrent streams the text that each gets alone, decoding at least 8 together', async () => {
    const body = (prompt: string) => ({ prompt, max_tokens: 96, temperature: 0 });
    const alone: string[] = [];
    for (const prompt of prompts) alone.push(await stream(body(prompt)));
    const sum = await metric('moestack:decode_batch_size_sum');
    const count = await metric('moestack:decode_batch_size_count');
    const together = await Promise.all(prompts.map((prompt) => stream(body(prompt))));
    expect(together).toEqual(alone);
    const meanBatch =
      ((await metric('moestack:decode_batch_size_sum')) - sum) /
      ((await metric('moestack:decode_batch_size_count')) - count);
    expect(meanBatch).toBeGreaterThanOrEqual(8);
  });

  it('draws the same text for the same seed, alone or in company', async () => {
    const body = (seed: number) => ({ prompt: 'The river', max_tokens: 40, temperature: 1.2, seed });
    const first = await stream(body(7));
    expect(await stream(body(8))).not.toBe(first);
    const [again] = await Promise.all([7, 8, 9, 10].map((seed) => stream(body(seed))));
    expect(again).toBe(first);
  });

  it('gives the choices of one request different texts', async () => {
    const answer = await client.completions.create({
      model,
      prompt: 'The river',
      n: 3,
      seed: 7,
      max_tokens: 24,
    });
    expect(new Set(answer.choices.map((choice) => choice.text)).size).toBe(3);
  });

  it('stops before a stop string', async () => {
    const whole = await stream({ prompt: 'The people of the United States', max_tokens: 20, temperature: 0 });
    const stop = whole.slice(10, 15);
    const answer = await client.completions.create({
      model,
      prompt: 'The people of the United States',
      max_tokens: 20,
      temperature: 0,
      stop,
    });
    expect(answer.choices[0]).toMatchObject({
      text: whole.slice(0, whole.indexOf(stop)),
      finish_reason: 'stop',
    });
  });

  it('reports log-probabilities, the greedy token on top', async () => {
    const chat = await client.chat.completions.create({
      model,
      messages: [{ role: 'user', content: 'The people' }],
      max_tokens: 5,
      temperature: 0,
      logprobs: true,
      top_logprobs: 3,
    });
    const entries = chat.choices[0]?.logprobs?.content ?? [];
    expect(entries).toHaveLength(5);
    for (const entry of entries) {
      expect(entry.top_logprobs).toHaveLength(3);
      expect(entry.top_logprobs[0]?.token).toBe(entry.token);
      expect(entry.logprob).toBeLessThanOrEqual(0);
    }
    expect(entries.map((entry) => entry.token).join('')).toBe(chat.choices[0]?.message.content);
  });

  it('scores a prompt by echo without generating, as it scores what it generates', async () => {
    const generated = await client.completions.create({
      model,
      prompt: 'The people of',
      max_tokens: 4,
      temperature: 0,
      logprobs: 0,
    });
    const whole = `The people of${generated.choices[0]?.text}`;
    const scored = await client.completions.create({
      model,
      prompt: whole,
      max_tokens: 0,
      echo: true,
      logprobs: 0,
    });
    expect(scored.choices[0]?.text).toBe(whole);
    expect(scored.usage?.completion_tokens).toBe(0);
    const tail = (scored.choices[0]?.logprobs?.token_logprobs ?? []).slice(-4);
    const wanted = generated.choices[0]?.logprobs?.token_logprobs ?? [];
    tail.forEach((logprob, index) => {
      expect(logprob).toBeCloseTo(wanted[index] ?? 0, 3);
    });
  });
});

describe('other clients on the real model', () => {
  const prompt = 'The people';
  const messages = [{ role: 'user' as const, content: prompt }];
  const settings = { temperature: 0, max_tokens: 12 };
  let expected: string;
  beforeAll(async () => {
    const { choices } = await client.chat.completions.create({ model, messages, ...settings });
    expected = choices[0]!.message.content!;
  });

  it('the AI SDK generates and streams what openai reads', async () => {
    const baseURL = `${server.url}/v1`;
    const options = {
      model: createOpenAICompatible({ name: 'moestack', baseURL })(model),
      prompt,
      temperature: 0,
      maxOutputTokens: 12,
      maxRetries: 0,
    };
    const { text, usage } = await generateText(options);
    expect(text).toBe(expected);
    expect(usage.outputTokens).toBe(12);
    let streamed = '';
    for await (const delta of streamText(options).textStream) streamed += delta;
    expect(streamed).toBe(expected);
  });

  it('LangChain invokes and streams what openai reads', async () => {
    const chat = new ChatOpenAI({
      model,
      apiKey: 'none',
      temperature: 0,
      maxTokens: 12,
      maxRetries: 0,
      configuration: { baseURL: `${server.url}/v1` },
    });
    expect((await chat.invoke(prompt)).content).toBe(expected);
    let streamed = '';
    for await (const chunk of await chat.stream(prompt)) streamed += chunk.content as string;
    expect(streamed).toBe(expected);
  });

  it.skipIf(!hasCurl)('curl gets what openai reads', async () => {
    const url = `${server.url}/v1/chat/completions`;
    const whole = JSON.parse(await curl(url, JSON.stringify({ model, messages, ...settings })));
    expect((whole as OpenAI.ChatCompletion).choices[0]!.message.content).toBe(expected);
    const events = await curl(url, JSON.stringify({ model, messages, ...settings, stream: true }));
    expect(events.endsWith('data: [DONE]\n\n')).toBe(true);
  });
});

describe('limits', () => {
  it('takes a prompt that fills the context, and refuses one token more', async () => {
    const tokens = (length: number) => Array<number>(length).fill(100);
    const full = await client.completions.create({ model, prompt: tokens(512), max_tokens: 10 });
    expect(full.choices[0]).toMatchObject({ text: '', finish_reason: 'length' });
    const almost = await client.completions.create({ model, prompt: tokens(510), max_tokens: 10 });
    expect(almost.usage?.completion_tokens).toBe(2);
    await expect(client.completions.create({ model, prompt: tokens(513) })).rejects.toMatchObject({
      status: 400,
      code: 'context_length_exceeded',
    });
  });

  it('refuses token ids outside the vocabulary, empty prompts and endless texts', async () => {
    const refusal = (prompt: string | number[]) =>
      client.completions.create({ model, prompt }).then(
        () => undefined,
        (error: { status: number }) => error.status,
      );
    expect(await refusal([2048])).toBe(400);
    expect(await refusal('')).toBe(400);
    expect(await refusal('a b '.repeat(3000))).toBe(400);
    expect(await refusal('x'.repeat(4_000_000))).toBe(400);
  });

  it('answers other requests while a long prompt is encoded', async () => {
    const messages = [{ role: 'user' as const, content: 'ab'.repeat(200_000) }];
    const long = client.chat.completions
      .create({ model, messages })
      .catch((error: { status: number }) => error.status);
    const startedMs = performance.now();
    await fetch(`${server.url}/health`);
    expect(performance.now() - startedMs).toBeLessThan(250);
    expect(await long).toBe(400);
  });

  it('gives generation_config.json the say on length', async () => {
    const answer = await client.completions.create({ model, prompt: 'The people' });
    expect(answer.usage?.completion_tokens).toBe(128);
  });
});

describe('hand-over and cancellation', () => {
  it('counts the bytes that go from prefill to decode', async () => {
    const before = await metric('moestack:kv_handover_bytes_total');
    await client.completions.create({ model, prompt: Array<number>(40).fill(100), max_tokens: 3 });
    // 40 tokens and the next one take 3 blocks: 16 tokens x 4 layers x (48 + 16) dims x 4 bytes each.
    expect((await metric('moestack:kv_handover_bytes_total')) - before).toBe(3 * 16 * 4 * 64 * 4);
  });

  it('frees everything when clients leave', async () => {
    await Promise.all(
      prompts.slice(0, 8).map(async (prompt) => {
        const chunks = await client.completions.create({ model, prompt, max_tokens: 200, stream: true });
        for await (const _ of chunks) break;
      }),
    );
    await expect.poll(() => gateway.requestsInFlight).toBe(0);
    await expect.poll(() => metric('moestack:kv_blocks_used', 'decode')).toBe(0);
    expect(await metric('moestack:kv_blocks_used', 'prefill')).toBe(0);
    expect(backend.metrics()).toMatchObject({ runningRequests: 0, waitingRequests: 0 });
  });
});
