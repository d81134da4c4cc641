import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, streamText } from 'ai';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type AnyBackend,
  OpenAiBackend,
  SglangBackend,
  type SglangBackendOptions,
  VllmBackend,
  type VllmBackendOptions,
} from '../src/index.js';
import { curl, hasCurl } from './curl.js';
import { EchoBackend } from './echo-backend.js';
import { answerText, type Fault } from './pools/engine-server.js';
import { gatewayOver, type Running } from './pools/gateway-over.js';
import { MooncakePair } from './pools/mooncake-pair.js';
import { OpenAiServer } from './pools/openai-server.js';
import { SglangPair } from './pools/sglang-pair.js';
import { VllmPair } from './pools/vllm-pair.js';

interface Subject {
  readonly backend: AnyBackend;
  readonly model: string;
  readonly text: string;
  readonly stop: () => Promise<void>;
  /** Makes the server that answers break from now on; undefined mends it. */
  readonly fail?: (fault: Fault | undefined) => void;
}

function ofPools(
  pair: VllmPair | MooncakePair | SglangPair,
  PairBackend: new (options: VllmBackendOptions & SglangBackendOptions) => AnyBackend,
  { bootstrapPort, ...options }: Pick<VllmBackendOptions, 'connector'> & { bootstrapPort?: number } = {},
): Subject {
  const backend = new PairBackend({
    ...options,
    name: 'b',
    retry: { maxAttempts: 1 },
    prefill: [{ url: pair.prefill.url, ...(bootstrapPort !== undefined && { bootstrapPort }) }],
    decode: [{ url: pair.decode.url }],
  });
  const fail = (fault: Fault | undefined) => {
    pair.decode.fault = () => fault;
  };
  return { backend, model: 'm', text: answerText(8), stop: () => pair.stop(), fail };
}

const kinds: [string, () => Promise<Subject>][] = [
  [
    'this process',
    async () => ({
      backend: new EchoBackend({ contextTokens: 1000 }),
      model: 'letters',
      text: 'bcdefghi',
      stop: async () => undefined,
    }),
  ],
  [
    'a plain server',
    async () => {
      const server = await new OpenAiServer({ splitBytes: true, flatErrors: true }).start();
      const backend = new OpenAiBackend({
        name: 'b',
        retry: { maxAttempts: 1 },
        workers: [{ url: server.url }],
      });
      const fail = (fault: Fault | undefined) => {
        server.fault = () => fault;
      };
      return { backend, model: 'm', text: answerText(8), stop: () => server.stop(), fail };
    },
  ],
  ['vLLM pools', async () => ofPools(await new VllmPair({ splitBytes: true }).start(), VllmBackend)],
  [
    'vLLM pools with Mooncake',
    async () => {
      const pair = await new MooncakePair({ splitBytes: true }).start();
      return ofPools(pair, VllmBackend, { connector: 'mooncake', bootstrapPort: pair.bootstrapPort });
    },
  ],
  ['SGLang pools', async () => ofPools(await new SglangPair({ splitBytes: true }).start(), SglangBackend)],
];

describe.each(kinds)('over %s', (_, make) => {
  let subject: Subject;
  let running: Running;
  let baseURL: string;
  beforeAll(async () => {
    subject = await make();
    running = await gatewayOver({ backend: subject.backend });
    baseURL = `${running.server.url}/v1`;
  });
  afterAll(async () => {
    await running.close();
    await subject.stop();
  });
  const messages = [{ role: 'user' as const, content: 'a' }];

  it('openai completes, streams, and reads errors', async () => {
    const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
    const { model } = subject;
    const chat = await client.chat.completions.create({ model, messages });
    expect(chat.choices[0]!.message.content).toBe(subject.text);
    const stream = await client.chat.completions.create({
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    let usage: unknown;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe(subject.text);
    expect(usage).toMatchObject({ completion_tokens: 8 });
    const { fail } = subject;
    if (fail === undefined) return;
    fail('error-400');
    await expect(client.chat.completions.create({ model, messages })).rejects.toMatchObject({
      status: 400,
      message: expect.stringMatching(/temperature/),
    });
    fail('reset-mid-stream');
    const broken = await client.chat.completions.create({ model, messages, stream: true });
    await expect(
      (async () => {
        for await (const _chunk of broken);
      })(),
    ).rejects.toThrow(/failed/);
    fail(undefined);
  });

  it('the AI SDK generates, streams, and reads errors', async () => {
    const provider = createOpenAICompatible({ name: 'moestack', baseURL });
    const model = provider(subject.model);
    expect((await generateText({ model, prompt: 'a', maxRetries: 0 })).text).toBe(subject.text);
    const streamed = streamText({ model, prompt: 'a', maxRetries: 0 });
    let text = '';
    for await (const delta of streamed.textStream) text += delta;
    expect(text).toBe(subject.text);
    expect(['length', 'stop']).toContain(await streamed.finishReason);
    const { fail } = subject;
    if (fail === undefined) return;
    fail('error-400');
    await expect(generateText({ model, prompt: 'a', maxRetries: 0 })).rejects.toThrow(/temperature/);
    fail('no-finish');
    const errors: unknown[] = [];
    const broken = streamText({
      model,
      prompt: 'a',
      maxRetries: 0,
      onError: ({ error }) => void errors.push(error),
    });
    for await (const _part of broken.fullStream);
    expect(errors).toHaveLength(1);
    fail(undefined);
  });

  it('LangChain invokes, streams, and reads errors', async () => {
    const model = new ChatOpenAI({
      model: subject.model,
      apiKey: 'none',
      maxRetries: 0,
      configuration: { baseURL },
    });
    expect((await model.invoke('a')).content).toBe(subject.text);
    let text = '';
    for await (const chunk of await model.stream('a')) text += chunk.content as string;
    expect(text).toBe(subject.text);
    const { fail } = subject;
    if (fail === undefined) return;
    fail('error-400');
    await expect(model.invoke('a')).rejects.toThrow(/temperature/);
    fail(undefined);
  });

  it.skipIf(!hasCurl)('curl gets bodies, events and errors', async () => {
    const body = JSON.stringify({ model: subject.model, messages });
    const whole = await curl(`${baseURL}/chat/completions`, body);
    expect((JSON.parse(whole) as OpenAI.ChatCompletion).choices[0]!.message.content).toBe(subject.text);
    const events = await curl(
      `${baseURL}/chat/completions`,
      JSON.stringify({ model: subject.model, messages, stream: true }),
    );
    expect(events.endsWith('data: [DONE]\n\n')).toBe(true);
    expect(await curl(`${baseURL}/chat/completions`, '{')).toContain(
      '"error":{"message":"the body is not valid JSON',
    );
  });

  it('the responses API answers or names what does', async () => {
    const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
    const request = { model: subject.model, input: 'a' };
    if (subject.fail !== undefined) {
      await expect(client.responses.create(request)).rejects.toThrow(/chat\/completions/);
      return;
    }
    const response = await client.responses.create(request);
    expect(response).toMatchObject({
      output_text: subject.text,
      status: 'incomplete',
      usage: { output_tokens: 8 },
    });
    const types: string[] = [];
    let text = '';
    for await (const event of await client.responses.create({ ...request, stream: true })) {
      types.push(event.type);
      if (event.type === 'response.output_text.delta') text += event.delta;
    }
    expect(text).toBe(subject.text);
    expect(types.slice(0, 4)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
    ]);
    expect(types.at(-1)).toBe('response.incomplete');
    await expect(client.responses.create({ ...request, previous_response_id: 'x' })).rejects.toMatchObject({
      status: 400,
      param: 'previous_response_id',
    });
  });
});
