import { describe, expect, it } from 'vitest';
import { type AccessLogEntry, createGateway, listen } from '../src/index.js';
import { EchoBackend, type EchoOptions } from './echo-backend.js';
import { parseExposition } from './exposition.js';
import { frames, post } from './http.js';

const gatewayWith = (options: EchoOptions = {}) => {
  const backend = new EchoBackend(options);
  return { backend, gateway: createGateway({ backend, newId: () => 'id' }) };
};

describe('text completions', () => {
  it('continues a text', async () => {
    const { gateway } = gatewayWith();
    const response = await post(gateway, '/v1/completions', {
      model: 'letters',
      prompt: 'ab',
      max_tokens: 3,
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      id: 'cmpl-id',
      object: 'text_completion',
      model: 'letters',
      choices: [{ index: 0, text: 'cde', logprobs: null, finish_reason: 'length' }],
      usage: { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 },
    });
    expect(response.headers.get('x-request-id')).toBe('id');
  });

  it('takes a list of texts, token ids and lists of token ids, n choices each', async () => {
    const { gateway } = gatewayWith();
    const texts = async (body: object) => {
      const response = await post(gateway, '/v1/completions', { max_tokens: 2, ...body });
      const answer = (await response.json()) as { choices: { index: number; text: string }[]; usage: object };
      return { texts: answer.choices.map((choice) => choice.text), usage: answer.usage };
    };
    expect(await texts({ prompt: ['a', 'xy'], n: 2 })).toMatchObject({
      texts: ['bc', 'bc', 'za', 'za'],
      usage: { prompt_tokens: 3, completion_tokens: 8, total_tokens: 11 },
    });
    expect((await texts({ prompt: [100, 101] })).texts).toEqual(['fg']);
    expect((await texts({ prompt: [[97], [98]] })).texts).toEqual(['bc', 'cd']);
  });

  it('gives each choice its own seed', async () => {
    const { gateway, backend } = gatewayWith();
    await post(gateway, '/v1/completions', { prompt: 'a', n: 3, seed: 40 });
    expect(backend.seen.map((request) => request.seed)).toEqual([40, 41, 42]);
  });

  it('echoes the prompt, offsets counting from its start', async () => {
    const { gateway } = gatewayWith();
    const response = await post(gateway, '/v1/completions', {
      prompt: 'ab',
      echo: true,
      max_tokens: 1,
      stream: true,
    });
    const texts = (await frames(response)).flatMap((frame) => frame.choices.map((choice) => choice['text']));
    expect(texts).toEqual(['ab', 'c', '']);
  });

  it('reports log-probabilities as parallel lists', async () => {
    const { gateway } = gatewayWith();
    const response = await post(gateway, '/v1/completions', { prompt: 'a', max_tokens: 2, logprobs: 2 });
    expect(await response.json()).toMatchObject({
      choices: [
        {
          logprobs: {
            tokens: ['b', 'c'],
            token_logprobs: [-0.5, -0.5],
            top_logprobs: [
              { b: -0.5, '?': -1 },
              { c: -0.5, '?': -1 },
            ],
            text_offset: [0, 1],
          },
        },
      ],
    });
  });

  it('passes sampling, stop strings and limits on, null meaning the default', async () => {
    const { gateway, backend } = gatewayWith();
    await post(gateway, '/v1/completions', {
      prompt: 'a',
      temperature: 0,
      top_p: 0.5,
      top_k: -1,
      min_p: null,
      max_tokens: 5,
      max_completion_tokens: 4,
      stop: 'd',
      unknown_field: { x: 1 },
    });
    const [request] = backend.seen;
    expect(request).toMatchObject({
      sampling: { temperature: 0, topP: 0.5, topK: 0 },
      maxTokens: 4,
      stop: ['d'],
    });
    expect(request?.sampling).not.toHaveProperty('minP');
  });
});

describe('chat completions', () => {
  const messages = [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ],
    },
  ];

  it('answers a chat', async () => {
    const { gateway } = gatewayWith();
    const response = await post(gateway, '/v1/chat/completions', {
      messages,
      stop: ['e'],
      logprobs: true,
      top_logprobs: 1,
    });
    const entry = (token: string, byte: number) => ({ token, logprob: -0.5, bytes: [byte] });
    expect(await response.json()).toMatchObject({
      object: 'chat.completion',
      choices: [
        {
          message: { role: 'assistant', content: 'cd' },
          finish_reason: 'stop',
          logprobs: {
            content: [
              { ...entry('c', 99), top_logprobs: [entry('c', 99)] },
              { ...entry('d', 100), top_logprobs: [entry('d', 100)] },
            ],
          },
        },
      ],
    });
  });

  it('streams role, text, reason, usage and the end, in this order', async () => {
    const { gateway } = gatewayWith();
    const response = await post(gateway, '/v1/chat/completions', {
      messages,
      max_tokens: 2,
      stream: true,
      stream_options: { include_usage: true },
    });
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    const all = await frames(response);
    expect(all.map((frame) => frame.choices[0]?.['delta'])).toEqual([
      { role: 'assistant', content: '' },
      { content: 'c' },
      { content: 'd' },
      {},
      undefined,
    ]);
    expect(all.map((frame) => frame.choices[0]?.['finish_reason'])).toEqual([
      null,
      null,
      null,
      'length',
      undefined,
    ]);
    expect(all.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 2, completion_tokens: 2 } });
    expect(new Set(all.map((frame) => frame['id']))).toEqual(new Set(['chatcmpl-id']));
  });

  it('interleaves the choices of a stream', async () => {
    const { gateway } = gatewayWith();
    const response = await post(gateway, '/v1/chat/completions', {
      messages,
      n: 2,
      max_tokens: 2,
      stream: true,
    });
    const deltas = (await frames(response)).map((frame) => frame.choices[0]!);
    const textOf = (index: number) =>
      deltas
        .filter((choice) => choice['index'] === index)
        .map((choice) => (choice['delta'] as { content?: string }).content ?? '')
        .join('');
    expect([textOf(0), textOf(1)]).toEqual(['cd', 'cd']);
    expect(deltas.slice(2, 6).map((choice) => choice['index'])).toEqual([0, 1, 0, 1]);
  });
});

describe('what only reads', () => {
  it('lists models and shows one', async () => {
    const { gateway } = gatewayWith();
    const list = await gateway.fetch(new Request('http://x/v1/models'));
    expect(await list.json()).toMatchObject({ object: 'list', data: [{ id: 'letters', max_model_len: 64 }] });
    const one = await gateway.fetch(new Request('http://x/v1/models/letters'));
    expect(await one.json()).toMatchObject({ id: 'letters', object: 'model' });
  });

  it('reports health, and that it drains', async () => {
    const { gateway } = gatewayWith();
    expect((await gateway.fetch(new Request('http://x/health'))).status).toBe(200);
    await gateway.drain();
    const response = await gateway.fetch(new Request('http://x/health'));
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({ status: 'draining' });
    const refused = await post(gateway, '/v1/completions', { prompt: 'a' });
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('5');
  });

  it('counts in its own registry', async () => {
    const { gateway } = gatewayWith();
    const body = { model: 'letters', prompt: 'ab', max_tokens: 3 };
    await post(gateway, '/v1/completions', body);
    await frames(await post(gateway, '/v1/completions', { ...body, stream: true }));
    await post(gateway, '/v1/completions', { ...body, model: 'unheard of' });
    await gateway.fetch(new Request('http://x/nowhere'));
    const response = await gateway.fetch(new Request('http://x/metrics'));
    const text = await response.text();
    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    parseExposition(text);
    const model = 'model_name="letters"';
    for (const line of [
      `vllm:prompt_tokens_total{${model},engine="gateway"} 4`,
      `vllm:generation_tokens_total{${model},engine="gateway"} 6`,
      `vllm:num_requests_running{${model},engine="0"} 0`,
      `vllm:request_success_total{${model},finished_reason="length"} 2`,
      'moestack:http_responses_total{route="/v1/completions",status="200"} 2',
      'moestack:http_responses_total{route="other",status="404"} 1',
      'moestack:requests_total{route="/v1/completions",outcome="refused",code="serving/unknown-model"} 1',
      `vllm:time_to_first_token_seconds_count{${model}} 2`,
      `vllm:request_time_per_output_token_seconds_count{${model}} 1`,
      `moestack:decode_batch_size_bucket{${model},engine="0",le="8"} 5`,
      `moestack:kv_handover_bytes_total{${model},engine="0"} 4096`,
      `moestack:kv_blocks_used{${model},engine="0",stage="decode"} 3`,
      `vllm:kv_cache_usage_perc{${model},engine="0"} 0.3`,
    ]) {
      expect(text.split('\n')).toContain(line);
    }
  });

  it('shows the page and its figures when asked to, to this machine', async () => {
    const backend = new EchoBackend();
    const gateway = createGateway({ backend, dashboard: true });
    const page = await gateway.fetch(new Request('http://x/'));
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    await post(gateway, '/v1/completions', { model: 'letters', prompt: 'ab', max_tokens: 3 });
    const trace = await gateway.fetch(new Request('http://x/debug/trace'));
    expect(await trace.text()).toContain('/v1/completions');
    const server = await listen(gateway, { port: 0 });
    expect((await fetch(`${server.url}/debug/trace`)).status).toBe(200);
    const proxied = await fetch(`${server.url}/debug/trace`, { headers: { 'x-forwarded-for': '10.1.2.3' } });
    expect(proxied.status).toBe(403);
    const events = await fetch(`${server.url}/dashboard/events`);
    const first = await events.body!.getReader().read();
    expect(new TextDecoder().decode(first.value)).toMatch(/^event: hello\ndata: \{"model":"letters"/);
    await server.close({ drainSeconds: 0 });
    expect((await createGateway({ backend }).fetch(new Request('http://x/'))).status).toBe(404);
  });

  it('writes an access log without text, and tells spans of requests', async () => {
    const entries: AccessLogEntry[] = [];
    const seen: string[] = [];
    const gateway = createGateway({
      backend: new EchoBackend(),
      accessLog: (entry) => entries.push(entry),
      spans: { observe: (event) => seen.push(event.type), traceparent: () => undefined },
    });
    await post(gateway, '/v1/completions', { model: 'letters', prompt: 'secret words', max_tokens: 3 });
    expect(entries).toHaveLength(1);
    expect(entries[0]).toMatchObject({
      route: '/v1/completions',
      model: 'letters',
      status: 200,
      completionTokens: 3,
    });
    expect(JSON.stringify(entries)).not.toContain('secret');
    expect(seen).toEqual(['received', 'routed', 'first-byte', 'usage', 'finished']);
  });

  it('describes itself', async () => {
    const { gateway } = gatewayWith();
    const response = await gateway.fetch(new Request('http://x/openapi.json'));
    const document = (await response.json()) as { openapi: string; paths: Record<string, unknown> };
    expect(document.openapi).toBe('3.1.0');
    expect(Object.keys(document.paths).sort()).toEqual([
      '/health',
      '/metrics',
      '/v1/chat/completions',
      '/v1/completions',
      '/v1/models',
      '/v1/models/{model}',
      '/v1/responses',
    ]);
  });
});
