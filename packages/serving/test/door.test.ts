import { createGuardrail } from '@moestack/detect/guardrail';
import { afterEach, describe, expect, it } from 'vitest';
import { checkedStream } from '../src/guardrail/check-output.js';
import {
  type AccessLogEntry,
  createGateway,
  createPoolBackend,
  type GatewayOptions,
  hashApiKey,
  OpenAiBackend,
  ServeConfig,
  ServingError,
} from '../src/index.js';
import type { BodyConsumer, BodySource } from '../src/upstream/leg.js';
import { EchoBackend } from './echo-backend.js';
import { frames, post } from './http.js';
import { answerText } from './pools/engine-server.js';
import { chatText, eventsOf, gatewayOver } from './pools/gateway-over.js';
import { OpenAiServer } from './pools/openai-server.js';

const path = '/v1/chat/completions';
const chat = (content: string, more: object = {}) => ({ messages: [{ role: 'user', content }], ...more });
const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function pool(options: Omit<GatewayOptions, 'backend'>) {
  const server = await new OpenAiServer({ splitBytes: true }).start();
  const backend = new OpenAiBackend({ name: 'pool', health: false, workers: [{ url: server.url }] });
  const running = await gatewayOver({ ...options, backend });
  stops.push(
    () => server.stop(),
    () => running.close(),
  );
  return { server, running };
}

describe('keys and limits', () => {
  const keys = [{ id: 'alice', sha256: hashApiKey('secret'), limits: { tokensPerMinute: 60 } }];

  it('let nobody in without a key, over either kind of backend', async () => {
    const { running, server } = await pool({ keys });
    const refused = await running.post(path, chat('a'));
    expect(refused.status).toBe(401);
    expect(refused.headers.get('www-authenticate')).toBe('Bearer');
    expect(await refused.json()).toMatchObject({
      error: { type: 'authentication_error', code: 'invalid_api_key' },
    });
    expect(server.seen).toEqual([]);
    const gateway = createGateway({ backend: new EchoBackend(), keys });
    expect((await post(gateway, path, chat('a'))).status).toBe(401);
    const headers = { authorization: 'Bearer secret' };
    expect((await post(gateway, path, chat('a'), { headers })).status).toBe(200);
  });

  it('never send the key on, and count the tokens of streams whose clients did not ask for them', async () => {
    const { running, server } = await pool({ keys });
    const headers = { authorization: 'Bearer secret' };
    const events = await eventsOf(await running.post(path, chat('a', { stream: true }), { headers }));
    expect(chatText(events)).toBe(answerText(8));
    // The usage was asked for on behalf of the limit and taken out again.
    expect(events.every((event) => (event['choices'] as unknown[]).length === 1)).toBe(true);
    expect(server.seen[0]!.body['stream_options']).toEqual({ include_usage: true });
    expect(server.seen[0]!.headers).not.toHaveProperty('authorization');
    expect(running.events).toContainEqual(
      expect.objectContaining({ type: 'usage', promptTokens: 3, completionTokens: 8, cachedTokens: 1 }),
    );
    expect(running.events[0]).toMatchObject({ type: 'received', keyId: 'alice', stream: true });
    let status = 200;
    for (let n = 0; n < 12 && status === 200; n++) {
      const response = await running.post(path, chat('a', { stream: true }), { headers });
      status = response.status;
      await response.text();
    }
    expect(status).toBe(429);
  });
});

describe('the guardrail of detect', () => {
  const guardrail = createGuardrail({
    name: 'test',
    words: { list: ['forbidden', 'défendu'], mode: 'block' },
    regexes: [{ name: 'NUMBER', pattern: '🙂\\d', mode: 'redact' }],
    pii: [{ type: 'EMAIL', mode: 'redact' }],
    blockedInputMessage: 'That is not talked about here.',
  });

  it('blocks prompts, whole or in parts', async () => {
    const { running, server } = await pool({ guardrail });
    for (const content of ['a FORBIDDEN word', [{ type: 'text', text: 'un mot d\u00e9fendu' }]]) {
      const response = await running.post(path, { messages: [{ role: 'user', content }] });
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: { code: 'content_filter' } });
    }
    expect((await running.post('/v1/completions', { prompt: ['fine', 'forbidden'] })).status).toBe(400);
    expect(server.seen).toEqual([]);
  });

  it('masks prompts and leaves every other character', async () => {
    const { running, server } = await pool({ guardrail });
    const text =
      '{"seed":18446744073709551615,"messages":[{"role":"user", "content":"write to a.b@example.org"}]}';
    await running.post(path, text);
    expect(server.seen[0]!.text).toBe(text.replace('a.b@example.org', '{EMAIL}'));
  });

  it('masks answers, whole and streamed, though what it looks for is cut between tokens', async () => {
    const { running } = await pool({ guardrail });
    const masked = answerText(8).replace('🙂2', '{NUMBER}').replace('🙂6', '{NUMBER}');
    const whole = (await (await running.post(path, chat('a'))).json()) as { choices: { message: object }[] };
    expect(whole.choices[0]!.message).toMatchObject({ content: masked });
    const response = await running.post(path, chat('a', { stream: true, n: 2 }));
    const events = await eventsOf(response);
    expect([chatText(events, 0), chatText(events, 1)]).toEqual([masked, masked]);
    const text = await eventsOf(await running.post('/v1/completions', { prompt: 'a', stream: true }));
    expect(text.map((event) => (event['choices'] as { text: string }[])[0]!.text).join('')).toBe(masked);
  });

  it('withholds answers, with the reason content_filter', async () => {
    const { running } = await pool({
      guardrail: createGuardrail({
        name: 'x',
        words: { list: ['plain3'] },
        blockedOutputMessage: 'Withheld.',
      }),
    });
    const whole = await (await running.post(path, chat('a'))).json();
    expect(whole).toMatchObject({
      choices: [{ message: { content: 'Withheld.' }, finish_reason: 'content_filter' }],
    });
    const events = await eventsOf(await running.post(path, chat('a', { stream: true })));
    expect(chatText(events)).toBe('Withheld.');
    expect(JSON.stringify(events)).not.toContain('plain');
    expect(events.at(-1)).toMatchObject({ choices: [{ finish_reason: 'content_filter' }] });
  });

  it('stands before backends of this process, too', async () => {
    const words = createGuardrail({
      name: 'x',
      words: { list: ['bcdefghi'] },
      blockedOutputMessage: 'Withheld.',
    });
    const gateway = createGateway({ backend: new EchoBackend(), guardrail: words });
    const events = await frames(await post(gateway, path, chat('a', { stream: true })));
    expect(
      events.map((event) => (event.choices[0]!['delta'] as { content?: string }).content ?? '').join(''),
    ).toBe('Withheld.');
    expect((await post(gateway, path, chat('bcdefghi'))).status).toBe(400);
  });
});

describe('a stream that is checked', () => {
  it('asks for no more of what passes unchecked while its reader is behind', async () => {
    let fed!: BodyConsumer;
    let resumed = 0;
    const source: BodySource = {
      consume: (consumer) => {
        fed = consumer;
      },
      resume: () => {
        resumed += 1;
      },
      abort: () => undefined,
    };
    const checked = checkedStream(source, {
      onlyAnnotates: false,
      check: async (text) => ({ action: 'none', text }),
    });
    const sent: string[] = [];
    checked.consume({
      data: (chunk) => sent.push(Buffer.from(chunk).toString()) < 0,
      end: () => undefined,
      error: () => undefined,
    });
    const call = Buffer.from('data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}\n\n');
    fed.data(call);
    await expect.poll(() => sent.length).toBe(1);
    expect(fed.data(call)).toBe(false);
    checked.resume();
    expect(resumed).toBe(1);
    await expect.poll(() => sent.length).toBe(2);
    checked.resume();
    expect(fed.data(call)).toBe(true);
  });
});

describe('a guardrail that only annotates', () => {
  const annotating = () =>
    createGuardrail({ name: 'x', words: { list: ['plain3', 'bcdefghi'], mode: 'annotate' } });

  async function watched(backend?: EchoBackend) {
    const entries: AccessLogEntry[] = [];
    const options = { guardrail: annotating(), accessLog: (entry: AccessLogEntry) => entries.push(entry) };
    if (backend !== undefined) return { entries, gateway: createGateway({ backend, ...options }) };
    const { running } = await pool(options);
    return { entries, running };
  }

  it('changes nothing, and tells log and metrics of each source', async () => {
    const { entries, running } = await watched();
    const whole = (await (await running!.post(path, chat('bcdefghi'))).json()) as {
      choices: { message: object }[];
    };
    expect(whole.choices[0]!.message).toMatchObject({ content: answerText(8) });
    for (const stream of ['a', 'bcdefghi']) {
      const events = await eventsOf(await running!.post(path, chat(stream, { stream: true })));
      expect(chatText(events)).toBe(answerText(8));
    }
    const input = { source: 'INPUT', action: 'annotated' };
    const output = { source: 'OUTPUT', action: 'annotated' };
    expect(entries.map(({ guardrail }) => guardrail)).toEqual([[input, output], [output], [input, output]]);
    const metrics = await (await fetch(`${running!.server.url}/metrics`)).text();
    expect(metrics).toContain('moestack:guardrail_findings_total{source="output",action="annotated"} 3');
    expect(metrics).toContain('moestack:guardrail_findings_total{source="input",action="annotated"} 2');
  });

  it('lets the stream of a pool pass before it has ended', async () => {
    const seen: string[] = [];
    const guardrail = {
      onlyAnnotates: true,
      check: (text: string, source: 'INPUT' | 'OUTPUT') => {
        seen.push(`${source} ${text}`);
        return { action: 'none' as const, text };
      },
    };
    const { running } = await pool({ guardrail });
    const events = await eventsOf(await running.post(path, chat('a', { stream: true, n: 2 })));
    // As many pieces as the server sent, where a held text leaves in one.
    expect(events.length).toBeGreaterThan(16);
    expect(seen).toEqual(['INPUT a', `OUTPUT ${answerText(8)}`, `OUTPUT ${answerText(8)}`]);
  });

  it('tells of backends of this process, too', async () => {
    const { entries, gateway } = await watched(new EchoBackend());
    const events = await frames(await post(gateway!, path, chat('a', { stream: true })));
    expect(events.length).toBeGreaterThan(2);
    expect(entries[0]!.guardrail).toEqual([{ source: 'OUTPUT', action: 'annotated' }]);
  });
});

describe('the configuration', () => {
  it('makes pools of every kind', async () => {
    const config = ServeConfig.parse({
      schemaVersion: 1,
      listen: { port: 0 },
      backends: [
        {
          type: 'openai',
          name: 'a',
          workers: [{ url: 'http://127.0.0.1:1', apiKeyEnv: 'KEY' }],
          policy: { type: 'cache-aware' },
        },
        {
          type: 'vllm',
          name: 'b',
          connector: 'mooncake',
          prefill: [{ url: 'http://127.0.0.1:1', bootstrapPort: 9000 }],
          decode: [{ url: 'http://127.0.0.1:2' }],
          health: false,
        },
        {
          type: 'sglang',
          name: 'c',
          models: ['m'],
          prefill: [{ url: 'http://[::1]:1', bootstrapPort: null, dataParallelRanks: 8 }],
          decode: [{ url: 'https://example.org/engine' }],
          policy: { type: 'session-affinity' },
        },
      ],
    });
    for (const backend of config.backends) {
      if (backend.type === 'embedded') continue;
      const made = createPoolBackend(backend, { env: { KEY: 'k' } });
      expect(made.name).toBe(backend.name);
      await made.close();
    }
    const [first] = config.backends;
    expect(() => createPoolBackend(first as never)).toThrow(ServingError);
  });

  it.each([
    [{}],
    [{ schemaVersion: 2, backends: [{ type: 'openai', name: 'a', workers: [{ url: 'http://x' }] }] }],
    [{ schemaVersion: 1, backends: [] }],
    [{ schemaVersion: 1, backends: [{ type: 'openai', name: 'a', workers: [] }] }],
    [{ schemaVersion: 1, backends: [{ type: 'openai', name: 'a', workers: [{ url: 'file:///etc' }] }] }],
    [{ schemaVersion: 1, backends: [{ type: 'vllm', name: 'a', prefill: [{ url: 'http://x' }] }] }],
    [{ schemaVersion: 1, backends: [{ type: 'embedded' }], unknown: 1 }],
    [{ schemaVersion: 1, backends: [{ type: 'embedded' }], auth: { keys: [{ id: 'a', sha256: 'plain' }] } }],
  ])('refuses %j', (value) => {
    expect(ServeConfig.safeParse(value).success).toBe(false);
  });

  it('asks for different names and sends each model to its pool', async () => {
    const one = await new OpenAiServer().start();
    const two = await new OpenAiServer().start();
    const make = (name: string, url: string, model: string) =>
      new OpenAiBackend({ name, models: [model], health: false, workers: [{ url }] });
    const backends = [make('a', one.url, 'x'), make('b', two.url, 'y'), new EchoBackend()];
    const running = await gatewayOver({ backend: backends });
    stops.push(
      () => one.stop(),
      () => two.stop(),
      () => running.close(),
    );
    expect((await running.post(path, chat('a', { model: 'y' }))).status).toBe(200);
    expect([one.seen.length, two.seen.length]).toEqual([0, 1]);
    const streamed = await running.post(path, chat('a', { model: 'x', stream: true }));
    expect(chatText(await eventsOf(streamed))).toBe(answerText(8));
    expect(await (await running.post(path, chat('a', { model: 'letters' }))).json()).toMatchObject({
      choices: [{ message: { content: 'bcdefghi' } }],
    });
    const unknown = await running.post(path, chat('a', { model: 'z' }));
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toMatchObject({
      error: { message: expect.stringContaining('x, y, letters') },
    });
    expect(() => createGateway({ backend: [make('a', one.url, 'x'), make('a', two.url, 'y')] })).toThrow(
      ServingError,
    );
  });
});
