import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import OpenAI from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import { createGateway, type Listening, listen, ServingError } from '../src/index.js';
import { EchoBackend, type EchoOptions } from './echo-backend.js';

const servers: Listening[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await server.close({ drainSeconds: 0.05 });
});

async function serve(options: EchoOptions = {}) {
  const backend = new EchoBackend(options);
  const gateway = createGateway({ backend });
  const server = await listen(gateway, { port: 0 });
  servers.push(server);
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
  return { backend, gateway, server, client };
}

const messages = [{ role: 'user' as const, content: 'a' }];

describe('the openai client', () => {
  it('lists models', async () => {
    const { client } = await serve();
    const ids: string[] = [];
    for await (const model of client.models.list()) ids.push(model.id);
    expect(ids).toEqual(['letters']);
    expect((await client.models.retrieve('letters')).id).toBe('letters');
  });

  it('completes', async () => {
    const { client } = await serve();
    const text = await client.completions.create({
      model: 'letters',
      prompt: 'a',
      max_tokens: 3,
      logprobs: 1,
    });
    expect(text.choices[0]).toMatchObject({
      text: 'bcd',
      finish_reason: 'length',
      logprobs: { tokens: ['b', 'c', 'd'] },
    });
    const chat = await client.chat.completions.create({
      model: 'letters',
      messages,
      max_completion_tokens: 2,
    });
    expect(chat.choices[0]?.message.content).toBe('bc');
    expect(chat.usage?.total_tokens).toBe(3);
    expect(chat._request_id).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('streams', async () => {
    const { client } = await serve();
    const stream = await client.chat.completions.create({
      model: 'letters',
      messages,
      max_tokens: 4,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe('bcde');
    expect(usage?.completion_tokens).toBe(4);
    let raw = '';
    for await (const chunk of await client.completions.create({
      model: 'letters',
      prompt: 'x',
      max_tokens: 3,
      stream: true,
    })) {
      raw += chunk.choices[0]?.text ?? '';
    }
    expect(raw).toBe('yza');
  });

  it('sees typed errors, also in the middle of a stream', async () => {
    const { client } = await serve({ failAt: 2 });
    await expect(client.completions.create({ model: 'gpt', prompt: 'a' })).rejects.toMatchObject({
      status: 404,
      code: 'model_not_found',
      param: 'model',
    });
    const read = async () => {
      for await (const _ of await client.completions.create({ model: 'letters', prompt: 'a', stream: true }));
    };
    await expect(read()).rejects.toThrow('the engine broke; restart it');
  });

  it('honours Retry-After', async () => {
    const { client } = await serve({ full: true });
    const error = await client.completions
      .create({ model: 'letters', prompt: 'a' })
      .catch((caught) => caught);
    expect(error).toBeInstanceOf(OpenAI.RateLimitError);
    expect((error as InstanceType<typeof OpenAI.RateLimitError>).headers?.get('retry-after')).toBe('7');
  });
});

describe('connections', () => {
  const waitForAbort = (index: number, signal: AbortSignal) =>
    index < 2
      ? Promise.resolve()
      : new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

  it('ends the generation when the client of a stream disconnects', async () => {
    const { client, backend, gateway } = await serve({ beforeDelta: waitForAbort });
    const stream = await client.completions.create({ model: 'letters', prompt: 'a', stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.text === 'c') break;
    await expect.poll(() => backend.running + gateway.requestsInFlight).toBe(0);
  });

  it('ends the generation when the client of a whole answer disconnects', async () => {
    const { client, backend, gateway } = await serve({ beforeDelta: waitForAbort });
    const left = new AbortController();
    const answer = client.completions.create({ model: 'letters', prompt: 'a' }, { signal: left.signal });
    await expect.poll(() => backend.deltas).toBe(2);
    left.abort();
    await expect(answer).rejects.toThrow();
    await expect.poll(() => backend.running + gateway.requestsInFlight).toBe(0);
  });

  it('does not run ahead of a client that stops reading', async () => {
    const tokens = 500_000;
    const { backend, server } = await serve({ contextTokens: tokens });
    const body = JSON.stringify({ prompt: 'a', max_tokens: tokens, stream: true });
    const request = httpRequest(`${server.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    request.end(body);
    const [response] = await once(request, 'response');
    response.pause();
    let before = -1;
    // The kernel's socket buffers fill first; then nothing may move.
    await expect
      .poll(() => before === (before = backend.deltas), { interval: 100, timeout: 20_000 })
      .toBe(true);
    expect(backend.deltas).toBeLessThan(tokens / 2);
    response.destroy();
    await expect.poll(() => backend.running).toBe(0);
  });
});

describe('listen', () => {
  it('binds to loopback and says where', async () => {
    const { server } = await serve();
    expect(server.url).toBe(`http://127.0.0.1:${server.port}`);
  });

  it('names a port that is taken and what to do', async () => {
    const { server } = await serve();
    const error = await listen(createGateway({ backend: new EchoBackend() }), { port: server.port }).catch(
      (e) => e,
    );
    expect(ServingError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ code: 'serving/port-taken', value: server.port });
    expect((error as Error).message).toContain(String(server.port));
  });

  it.each([-1, 65_536, 1.5, Number.NaN])('refuses the port %s', async (port) => {
    await expect(listen(createGateway({ backend: new EchoBackend() }), { port })).rejects.toMatchObject({
      code: 'serving/bad-port',
    });
  });

  it('refuses a host that is not of this machine', async () => {
    await expect(
      listen(createGateway({ backend: new EchoBackend() }), { port: 0, host: '203.0.113.1' }),
    ).rejects.toMatchObject({ code: 'serving/cannot-listen' });
  });

  it('answers what is in flight before it closes', async () => {
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { client, server, backend } = await serve({
      beforeDelta: (index) => (index === 1 ? gate : Promise.resolve()),
    });
    const answer = client.completions.create({ model: 'letters', prompt: 'a', max_tokens: 3 });
    await expect.poll(() => backend.deltas).toBe(1);
    const closed = server.close();
    release();
    expect((await answer).choices[0]?.text).toBe('bcd');
    await closed;
    await expect(client.models.list()).rejects.toThrow();
  });
});
