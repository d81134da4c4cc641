import { afterEach, describe, expect, it } from 'vitest';
import { createPoolBackend, OpenAiBackend, OpenAiBackendConfig, seededRandom } from '../src/index.js';
import type { EngineOptions } from './pools/engine-server.js';
import { gatewayOver } from './pools/gateway-over.js';
import { OpenAiServer } from './pools/openai-server.js';

const path = '/v1/chat/completions';
const body = (more: object = {}) => ({ model: 'm', messages: [{ role: 'user', content: 'hi' }], ...more });
const stream = (more: object = {}) => body({ stream: true, ...more });

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

describe('plain servers', () => {
  const plain = async (options: EngineOptions = {}, servers = 1) => {
    const all = await Promise.all(Array.from({ length: servers }, () => new OpenAiServer(options).start()));
    const backend = new OpenAiBackend({
      name: 'pool',
      health: false,
      retry: { baseDelaySeconds: 0.001, maxDelaySeconds: 0.5 },
      breaker: { failures: 3, openSeconds: 60 },
      workers: all.map(({ url }) => ({ url })),
    });
    const running = await gatewayOver({ backend });
    stops.push(...all.map((server) => () => server.stop()), () => running.close());
    return { running, all };
  };

  it('get the body as it was, without the fields that are internal to pools', async () => {
    const { running, all } = await plain();
    const text = '{"model":"m" , "messages":[ ],\n"seed":9007199254740993,"x":1.0}';
    expect((await running.post(path, text)).status).toBe(200);
    expect(all[0]!.seen[0]!.text).toBe(text);
    await running.post(path, text.replace('{', '{"rid":"a","bootstrap_room":7 ,'));
    expect(all[0]!.seen[1]!.text).toBe(text);
  });

  it('are tried again on another one after 429, 500 and a broken connection', async () => {
    const { running, all } = await plain({}, 2);
    for (const fault of ['overloaded', 'error-500', 'reset'] as const) {
      let failed = false;
      for (const server of all) {
        server.fault = () => {
          if (failed) return undefined;
          failed = true;
          return fault;
        };
      }
      expect((await running.post(path, body())).status).toBe(200);
      expect(failed).toBe(true);
    }
  });

  it('are not tried again for what no retry helps', async () => {
    const { running, all } = await plain({ flatErrors: true });
    all[0]!.fault = () => 'error-400';
    const response = await running.post(path, body());
    expect(response.status).toBe(400);
    expect(await response.json()).toEqual({
      error: { message: 'temperature must be non-negative', type: 'BadRequestError', param: null, code: 400 },
    });
    expect(all[0]!.seen).toHaveLength(1);
  });

  it('pass Retry-After on when it is too long to wait for', async () => {
    const { running, all } = await plain();
    all[0]!.fault = () => 'overloaded';
    const response = await running.post(path, body());
    expect(response.status).toBe(429);
    expect(response.headers.get('retry-after')).toBe('1');
  });

  it('are left alone after failures in a row', async () => {
    const { running, all } = await plain();
    all[0]!.fault = () => 'reset';
    await running.post(path, body());
    const seen = all[0]!.seen.length;
    expect(seen).toBe(3);
    const response = await running.post(path, body());
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(all[0]!.seen.length).toBe(seen);
    expect(running.events).toContainEqual(
      expect.objectContaining({ type: 'breaker', from: 'closed', to: 'open' }),
    );
  });

  it('that fail their health checks get no requests until they are well again', async () => {
    const { createServer } = await import('node:http');
    let status = 200;
    const sick = createServer((_, response) => response.writeHead(status).end('{"choices":[]}'));
    await new Promise<void>((resolve) => sick.listen(0, '127.0.0.1', resolve));
    const { port } = sick.address() as { port: number };
    const backend = new OpenAiBackend({
      name: 'pool',
      health: { path: '/ready', intervalSeconds: 0.02, failures: 2 },
      workers: [{ url: `http://127.0.0.1:${port}`, name: 'sick' }],
    });
    const running = await gatewayOver({ backend });
    stops.push(
      () => new Promise((resolve) => sick.close(() => resolve())),
      () => running.close(),
    );
    const health = () => running.events.flatMap((event) => (event.type === 'health' ? [event.healthy] : []));
    status = 503;
    await expect.poll(health).toEqual([false]);
    const refused = await running.post(path, body());
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ error: { code: 'no_worker' } });
    expect((await fetch(`${running.server.url}/health`)).status).toBe(503);
    status = 200;
    await expect.poll(health).toEqual([false, true]);
    expect((await running.post(path, body())).status).toBe(200);
  });

  it('are counted by how their answers ended', async () => {
    const { running } = await plain();
    await (await running.post(path, body())).text();
    await (await running.post(path, stream())).text();
    await (await running.post('/v1/completions', { model: 'm', prompt: 'a', stream: true })).text();
    const finished = () => running.events.filter((event) => event.type === 'finished');
    await expect.poll(finished).toHaveLength(3);
    expect(finished()).toMatchObject(Array(3).fill({ outcome: 'ok', finishReason: 'length' }));
    const metrics = await (await fetch(`${running.server.url}/metrics`)).text();
    expect(metrics).toMatch(/vllm:request_success_total\{model_name="m",[^}]*finished_reason="length"\} 3/);
  });

  it('list their models, and models of several pools go to theirs', async () => {
    const { running } = await plain();
    expect(await (await fetch(`${running.server.url}/v1/models`)).json()).toMatchObject({
      data: [{ id: 'm', max_model_len: 4096 }],
    });
  });

  it.each([
    [undefined, 'x-session-id'],
    ['X-Conversation', 'x-conversation'],
  ])(
    'get all requests of a session, named by the header that the policy says (%s)',
    async (named, header) => {
      const all = await Promise.all(Array.from({ length: 4 }, () => new OpenAiServer().start()));
      const config = OpenAiBackendConfig.parse({
        type: 'openai',
        name: 'pool',
        health: false,
        workers: all.map(({ url }) => ({ url })),
        policy: { type: 'session-affinity', ...(named !== undefined && { header: named }) },
      });
      const running = await gatewayOver({ backend: createPoolBackend(config, { random: seededRandom(1) }) });
      stops.push(...all.map((server) => () => server.stop()), () => running.close());
      const serversOf = async (name: string, session: string) => {
        const before = all.map(({ seen }) => seen.length);
        for (let n = 0; n < 12; n++) {
          const response = await running.post(path, body(), { headers: { [name]: session } });
          expect(response.status).toBe(200);
          await response.text();
        }
        return all.filter(({ seen }, index) => seen.length > before[index]!).length;
      };
      for (const session of ['a', 'b', 'c']) expect(await serversOf(header, session)).toBe(1);
      const other = named === undefined ? 'x-conversation' : 'x-session-id';
      expect(await serversOf(other, 'a')).toBeGreaterThan(1);
    },
  );

  it('are read no faster than the client reads', async () => {
    const server = new OpenAiServer({ tokens: 200_000 });
    await server.start();
    let written = 0;
    const backend = new OpenAiBackend({ name: 'pool', health: false, workers: [{ url: server.url }] });
    const running = await gatewayOver({ backend });
    stops.push(
      () => server.stop(),
      () => running.close(),
    );
    const client = new AbortController();
    const response = await running.post(path, stream({ max_tokens: 200_000 }), { signal: client.signal });
    const reader = response.body!.getReader();
    written += (await reader.read()).value!.byteLength;
    const before = process.memoryUsage().rss;
    await new Promise((resolve) => setTimeout(resolve, 1500));
    // All of it would be 40 MB; sockets hold some hundred kilobytes each.
    expect(process.memoryUsage().rss - before).toBeLessThan(30e6);
    expect(server.running).toBe(1);
    client.abort();
    await expect.poll(() => server.running).toBe(0);
    expect(written).toBeGreaterThan(0);
  });
});
