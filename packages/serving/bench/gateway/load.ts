import { setMaxListeners } from 'node:events';
import { Agent, Client, request } from 'undici';
import type { ServerProcess } from './processes.js';

const path = '/v1/chat/completions';
const messages = [
  { role: 'system', content: 'You are a helpful assistant. '.repeat(20) },
  { role: 'user', content: 'hi' },
];
const body = JSON.stringify({ model: 'm', messages, max_tokens: 30 });

/** Seconds for so many requests over so many connections. */
export async function timeRequests(
  server: ServerProcess,
  count: number,
  connections: number,
): Promise<number> {
  const agent = new Agent({ connections, pipelining: 1 });
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const answer = await request(server.url + path, {
        method: 'POST',
        dispatcher: agent,
        headers: { 'content-type': 'application/json', ...server.headers },
        body,
      });
      const text = await answer.body.text();
      if (answer.statusCode !== 200)
        throw new Error(`${server.url}: ${answer.statusCode} ${text.slice(0, 200)}`);
    }
  };
  const startMs = performance.now();
  await Promise.all(Array.from({ length: connections }, worker));
  const seconds = (performance.now() - startMs) / 1000;
  await agent.destroy();
  return seconds;
}

/** Median seconds that requests over one connection take longer through a gateway than without it, asked in turn. */
export async function addedLatency(
  direct: ServerProcess,
  gateway: ServerProcess,
  count: number,
): Promise<number> {
  const clients = [direct, gateway].map((server) => new Client(server.url));
  const times: [number[], number[]] = [[], []];
  for (let index = 0; index < count; index++) {
    for (const [which, client] of clients.entries()) {
      const startMs = performance.now();
      const answer = await client.request({
        path,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
      await answer.body.dump();
      times[which as 0 | 1].push(performance.now() - startMs);
    }
  }
  await Promise.all(clients.map((client) => client.destroy()));
  return Math.max(1e-6, (median(times[1]) - median(times[0])) / 1000);
}

/** Median seconds from an event being written by the server to its being read by the client, over so many streams. */
export async function passThrough(server: ServerProcess, streams: number, tokens: number): Promise<number> {
  const agent = new Agent({ connections: streams, pipelining: 1 });
  const delays: number[] = [];
  const stream = async (): Promise<void> => {
    const answer = await request(server.url + path, {
      method: 'POST',
      dispatcher: agent,
      headers: { 'content-type': 'application/json', ...server.headers },
      body: JSON.stringify({ model: 'm', messages, stream: true, max_tokens: tokens, interval_ms: 50 }),
    });
    for await (const chunk of answer.body) {
      const now = performance.timeOrigin + performance.now();
      const written = /"content":"([\d.]+)"/.exec((chunk as Buffer).toString('latin1'))?.[1];
      if (written !== undefined) delays.push(now - Number(written));
    }
  };
  await Promise.all(Array.from({ length: streams }, stream));
  await agent.destroy();
  return median(delays) / 1000;
}

/** Bytes by which a gateway grows when so many readers stop reading streams of 20 MB each. */
export async function stalledGrowth(gateway: ServerProcess, readers: number): Promise<number> {
  const agent = new Agent({ connections: readers, pipelining: 1 });
  await timeRequests(gateway, 500, 10);
  const before = await gateway.memory();
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const bodies = await Promise.all(
    Array.from({ length: readers }, async () => {
      const answer = await request(gateway.url + path, {
        method: 'POST',
        dispatcher: agent,
        signal: stop.signal,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'm', messages, stream: true, max_tokens: 100_000, interval_ms: 0 }),
      });
      answer.body.on('error', () => undefined);
      return answer.body;
    }),
  );
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const grown = (await gateway.memory()) - before;
  stop.abort();
  for (const one of bodies) one.destroy();
  await agent.destroy();
  return grown;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
