import { describe, expect, it } from 'vitest';
import { createGateway, type ErrorBody } from '../src/index.js';
import { EchoBackend, type EchoOptions } from './echo-backend.js';
import { frames, post } from './http.js';

const setUp = (options: EchoOptions = {}) => {
  const backend = new EchoBackend(options);
  const errors: unknown[] = [];
  const gateway = createGateway({
    backend,
    newId: () => 'id',
    maxBodyBytes: 10_000,
    onError: (error) => errors.push(error),
  });
  return { backend, gateway, errors };
};

async function refusal(body: object | string, path = '/v1/completions', options: EchoOptions = {}) {
  const response = await post(setUp(options).gateway, path, body);
  const answer = (await response.json()) as ErrorBody;
  expect(Object.keys(answer)).toEqual(['error']);
  expect(answer.error.message).not.toMatch(/\n| at .*:\d+/);
  return { status: response.status, response, ...answer.error };
}

const chat = '/v1/chat/completions';
const user = [{ role: 'user', content: 'a' }];

describe('bad values', () => {
  const cases: [string, object, param: string][] = [
    ['a missing prompt', {}, 'prompt'],
    ['an empty list of prompts', { prompt: [] }, 'prompt'],
    ['a mixed list of prompts', { prompt: ['a', 1] }, 'prompt'],
    ['a negative token id', { prompt: [-1] }, 'prompt.0'],
    ['a fractional token id', { prompt: [1.5] }, 'prompt'],
    ['a negative temperature', { prompt: 'a', temperature: -0.1 }, 'temperature'],
    ['a temperature above 2', { prompt: 'a', temperature: 2.1 }, 'temperature'],
    ['NaN as a text', { prompt: 'a', temperature: 'NaN' }, 'temperature'],
    ['a top_p of 0', { prompt: 'a', top_p: 0 }, 'top_p'],
    ['a top_k of -2', { prompt: 'a', top_k: -2 }, 'top_k'],
    ['a min_p above 1', { prompt: 'a', min_p: 1.5 }, 'min_p'],
    ['n of 0', { prompt: 'a', n: 0 }, 'n'],
    ['n of 1000', { prompt: 'a', n: 1000 }, 'n'],
    ['more choices than allowed', { prompt: ['a', 'b', 'c'], n: 40 }, 'n'],
    ['a negative max_tokens', { prompt: 'a', max_tokens: -1 }, 'max_tokens'],
    ['a fractional max_tokens', { prompt: 'a', max_tokens: 1.5 }, 'max_tokens'],
    ['a max_tokens as text', { prompt: 'a', max_tokens: '5' }, 'max_tokens'],
    ['a seed that is no integer', { prompt: 'a', seed: 1.5 }, 'seed'],
    ['an empty stop string', { prompt: 'a', stop: '' }, 'stop'],
    ['too many stop strings', { prompt: 'a', stop: Array(17).fill('x') }, 'stop'],
    ['a stream that is no boolean', { prompt: 'a', stream: 'yes' }, 'stream'],
    ['stream_options without stream', { prompt: 'a', stream_options: {} }, 'stream_options'],
    ['logprobs of 21', { prompt: 'a', logprobs: 21 }, 'logprobs'],
    ['best_of above n', { prompt: 'a', best_of: 3 }, 'best_of'],
    ['a suffix', { prompt: 'a', suffix: 'z' }, 'suffix'],
    ['a presence penalty', { prompt: 'a', presence_penalty: 1 }, 'presence_penalty'],
    ['a logit bias', { prompt: 'a', logit_bias: { 50256: -100 } }, 'logit_bias'],
  ];
  it.each(cases)('refuses %s with 400', async (_, body, param) => {
    expect(await refusal(body)).toMatchObject({ status: 400, param, type: 'invalid_request_error' });
  });

  const chats: [string, object, param: string][] = [
    ['no messages', { messages: [] }, 'messages'],
    ['an unknown role', { messages: [{ role: 'king', content: 'a' }] }, 'messages.0.role'],
    [
      'an image',
      { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: {} }] }] },
      'messages.0.content',
    ],
    ['max_tokens of 0', { messages: user, max_tokens: 0 }, 'max_tokens'],
    ['top_logprobs without logprobs', { messages: user, top_logprobs: 2 }, 'top_logprobs'],
    ['tools', { messages: user, tools: [{ type: 'function' }] }, 'tools'],
    ['a JSON schema', { messages: user, response_format: { type: 'json_schema' } }, 'response_format'],
    ['audio', { messages: user, modalities: ['text', 'audio'] }, 'modalities'],
  ];
  it.each(chats)('refuses %s in a chat with 400', async (_, body, param) => {
    expect(await refusal(body, chat)).toMatchObject({ status: 400, param });
  });

  it('names the value it refused and what to do', async () => {
    const { message } = await refusal({ prompt: 'a', temperature: -1 });
    expect(message).toMatch(/^temperature: .*got -1; see \/openapi\.json/);
  });

  it('takes what says nothing: no tools, text format, zero penalties', async () => {
    const body = {
      messages: user,
      tools: [],
      response_format: { type: 'text' },
      frequency_penalty: 0,
      logit_bias: {},
    };
    expect((await post(setUp().gateway, chat, body)).status).toBe(200);
  });
});

describe('hostile bodies', () => {
  it.each(['', '{', 'null', '[]', '"a"', '{"prompt":NaN}', '{"prompt":"a","temperature":Infinity}'])(
    'refuses %j with 400',
    async (body) => {
      expect(await refusal(body)).toMatchObject({ status: 400 });
    },
  );

  it('takes numbers beyond every float as bad values', async () => {
    expect(await refusal('{"prompt":"a","temperature":1e999}')).toMatchObject({
      status: 400,
      param: 'temperature',
    });
  });

  it('refuses a body that is no UTF-8 with 400', async () => {
    const response = await setUp().gateway.fetch(
      new Request('http://x/v1/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: Uint8Array.of(0x22, 0xff, 0xfe, 0x22),
      }),
    );
    expect(response.status).toBe(400);
  });

  it('refuses nesting that would take seconds to parse, and takes the rest', async () => {
    const gateway = createGateway({ backend: new EchoBackend() });
    const deep = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
    const ask = async (value: string, field = 'unknown') =>
      (await post(gateway, '/v1/completions', `{"prompt":"a","${field}":${value}}`)).status;
    for (const field of ['prompt', 'stop', 'unknown']) expect(await ask(deep(500_000), field)).toBe(400);
    const brackets = JSON.stringify('["\\[{'.repeat(20_000));
    expect(await ask(`[${brackets},${deep(998)}]`)).toBe(200);
    expect(await ask(`[${brackets},${deep(1000)}]`)).toBe(400);
    expect(await ask(`"${'['.repeat(100_000)}`)).toBe(400);
  });

  it('does not take a prototype for a field', async () => {
    const response = await post(
      setUp().gateway,
      chat,
      '{"messages":[{"role":"user","content":"a"}],"__proto__":{"n":9}}',
    );
    expect(((await response.json()) as { choices: object[] }).choices).toHaveLength(1);
  });

  it('refuses an oversized body with 413, announced or not', async () => {
    const body = JSON.stringify({ prompt: 'a'.repeat(20_000) });
    const announced = await refusal(body);
    expect(announced).toMatchObject({ status: 413, code: 'body_too_large' });
    expect(announced.message).toContain('maxBodyBytes is 10000');
    let pulls = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulls += 1;
        controller.enqueue(new Uint8Array(1000).fill(0x20));
      },
    });
    const response = await setUp().gateway.fetch(
      new Request('http://x/v1/completions', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: endless,
        duplex: 'half',
      } as RequestInit),
    );
    expect(response.status).toBe(413);
    expect(pulls).toBeLessThan(20);
  });

  it('refuses other media types with 415', async () => {
    const response = await post(setUp().gateway, '/v1/completions', '{"prompt":"a"}', {
      headers: { 'content-type': 'text/plain' },
    });
    expect(response.status).toBe(415);
  });
});

describe('what is not there', () => {
  it('answers 404 for an unknown model, route and model page', async () => {
    expect(await refusal({ prompt: 'a', model: 'gpt' })).toMatchObject({
      status: 404,
      code: 'model_not_found',
      param: 'model',
    });
    expect(await refusal({}, '/v1/embeddings')).toMatchObject({ status: 404, code: 'unknown_url' });
    const { gateway } = setUp();
    expect((await gateway.fetch(new Request('http://x/v1/models/gpt'))).status).toBe(404);
  });

  it('answers 405 with the methods that work', async () => {
    const { gateway } = setUp();
    const response = await gateway.fetch(new Request('http://x/v1/completions'));
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST');
  });
});

describe('failures of the backend', () => {
  it('passes its typed errors on', async () => {
    expect(await refusal({ prompt: 'a'.repeat(65) })).toMatchObject({
      status: 400,
      code: 'context_length_exceeded',
      param: 'prompt',
    });
    const full = await refusal({ prompt: 'a', stream: true }, '/v1/completions', { full: true });
    expect(full).toMatchObject({ status: 429, type: 'rate_limit_error' });
    expect(full.response.headers.get('retry-after')).toBe('7');
  });

  it('answers 500 when it fails before the answer', async () => {
    expect(await refusal({ prompt: 'a' }, '/v1/completions', { failAt: 2 })).toMatchObject({
      status: 500,
      type: 'server_error',
    });
  });

  it('says nothing of an unexpected error, but reports it', async () => {
    const { gateway, errors } = setUp({ beforeDelta: () => Promise.reject(new Error('secret path /etc')) });
    const response = await post(gateway, '/v1/completions', { prompt: 'a' });
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain('secret');
    expect(errors).toHaveLength(1);
  });

  it('ends a stream in an error frame and [DONE]', async () => {
    const { gateway, errors } = setUp({ failAt: 1 });
    const response = await post(gateway, chat, { messages: user, stream: true });
    expect(response.status).toBe(200);
    const all = await frames(response);
    expect(all.at(-1)?.error).toMatchObject({
      type: 'server_error',
      message: 'the engine broke; restart it',
    });
    expect(errors).toHaveLength(1);
    expect(gateway.requestsInFlight).toBe(0);
  });

  it('ends the other choices when one fails', async () => {
    const { gateway, backend } = setUp({ failAt: 1 });
    await frames(await post(gateway, chat, { messages: user, stream: true, n: 3 }));
    expect(backend.running).toBe(0);
  });
});

describe('clients that leave or wait', () => {
  it('ends the generation when the reader of a stream leaves', async () => {
    const { gateway, backend } = setUp();
    const response = await post(gateway, chat, { messages: user, stream: true, max_tokens: 60 });
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    expect(backend.running).toBe(0);
    expect(backend.deltas).toBeLessThan(3);
    expect(gateway.requestsInFlight).toBe(0);
  });

  it('ends the generation when the client of a whole answer leaves', async () => {
    const client = new AbortController();
    const { gateway, backend, errors } = setUp({
      beforeDelta: async (index) => {
        if (index === 3) client.abort();
      },
    });
    const response = await post(gateway, chat, { messages: user, max_tokens: 60 }, { signal: client.signal });
    expect(response.status).toBe(499);
    expect(backend.deltas).toBe(3);
    expect(errors).toEqual([]);
  });

  it('reads from the backend only what the client takes', async () => {
    const { gateway, backend } = setUp();
    const response = await post(gateway, '/v1/completions', { prompt: 'a', stream: true, max_tokens: 60 });
    const reader = response.body!.getReader();
    for (let index = 0; index < 4; index++) await reader.read();
    expect(backend.deltas).toBeLessThanOrEqual(6);
    await reader.cancel();
  });

  it('lets requests in flight end, then ends them with an error frame', async () => {
    let onBlocked: () => void = () => undefined;
    const blocked = new Promise<void>((resolve) => {
      onBlocked = resolve;
    });
    const { gateway } = setUp({
      beforeDelta: (index, signal) =>
        index < 1
          ? Promise.resolve()
          : new Promise((_, reject) => {
              onBlocked();
              signal.addEventListener('abort', () => reject(signal.reason));
            }),
    });
    const response = await post(gateway, chat, { messages: user, stream: true });
    const all = frames(response);
    await blocked;
    await gateway.drain({ drainSeconds: 0.01 });
    expect((await all).at(-1)?.error).toMatchObject({ code: 'server_draining' });
  });
});
