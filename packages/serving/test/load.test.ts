import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFixture } from '@moestack/fixtures';
import { LoadReport } from '@moestack/schemas';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { parseTrace, runLoad, scaleTrace, syntheticTrace } from '../src/load/index.js';
import { LatencySamples } from '../src/load/latency-samples.js';
import { PromptSource } from '../src/load/prompts.js';
import { SseLines } from '../src/load/sse-lines.js';
import { fuzz } from './fuzz-trace.js';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

type Answer = (body: Record<string, unknown>, response: ServerResponse, request: IncomingMessage) => void;

async function serve(answer: Answer): Promise<string> {
  const server = createServer((request, response) => {
    if (request.url === '/v1/models') {
      response.end(JSON.stringify({ data: [{ id: 'words' }] }));
      return;
    }
    let text = '';
    request.on('data', (piece) => {
      text += piece;
    });
    request.on('end', () => answer(JSON.parse(text), response, request));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const frame = (value: object) => `data: ${JSON.stringify(value)}\n\n`;
const chunk = (text: string, finish: string | null = null) =>
  frame({ choices: [{ index: 0, text, finish_reason: finish }] });

/** As many tokens as asked for, at once. */
const obliging: Answer = (body, response) => {
  const count = body['max_tokens'] as number;
  for (let i = 0; i < count; i++) response.write(chunk('é ', i === count - 1 ? 'length' : null));
  const usage = {
    prompt_tokens: 7,
    completion_tokens: count,
    prompt_tokens_details: { cached_tokens: 3 },
  };
  response.end(`${frame({ choices: [], usage })}data: [DONE]\n\n`);
};

const trace = (requests: number, outputTokens = 4) =>
  syntheticTrace({ requests, ratePerSecond: 1000, inputTokens: 20, outputTokens });

describe('traces', () => {
  it.each([
    ['mooncake_conversation.jsonl', 2000, 6758, 500, 14],
    ['azure_2023_conv.csv', 2000, 374, 44, undefined],
  ])('reads %s', (name, rows, inputTokens, outputTokens, hashes) => {
    const { requests, sha256 } = parseTrace(name, readFixture(`serving/traces/${name}`));
    expect(requests.length).toBe(rows);
    expect(requests[0]).toMatchObject({ arrivalUs: 0, inputTokens, outputTokens });
    expect(requests[0]?.hashIds?.length).toBe(hashes);
    expect(sha256).toMatch(/^[0-9a-f]{64}$/);
  });

  it('reads the columns as Azure publishes them, re-based and sorted', () => {
    const text =
      'TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:50.9951690,396,109\r\n2023-11-16 18:15:46.6805900,374,0\r\n';
    expect(parseTrace('azure', new TextEncoder().encode(text)).requests).toEqual([
      { arrivalUs: 0, inputTokens: 374, outputTokens: 1 },
      { arrivalUs: 4_314_579, inputTokens: 396, outputTokens: 109 },
    ]);
  });

  it.each([
    ['', 1],
    ['a,b\n', 1],
    ['arrival_us,input_tokens,output_tokens\n1,2\n', 2],
    ['arrival_us,input_tokens,output_tokens\n1,,3\n', 2],
    ['{"timestamp":0,"input_length":1,"output_length":1,"hash_ids":[1,2]}', 1],
    ['{"timestamp":-1,"input_length":1,"output_length":1}', 1],
    ['{"timestamp":0}\n', 1],
    ['{', 1],
  ])('refuses %j by line', (text, line) => {
    expect(() => parseTrace('bad', new TextEncoder().encode(text))).toThrow(
      expect.objectContaining({
        code: 'serving/bad-trace',
        message: expect.stringContaining(`line ${line} `),
      }),
    );
  });

  it('survives 3,000 broken traces', async () => {
    const { runs, rejected } = await fuzz(11, 3000);
    expect(runs).toBe(3000);
    expect(rejected).toBeGreaterThan(600);
    expect(rejected).toBeLessThan(2900);
  });

  it('shrinks in time and length, and keeps what prefixes are shared', () => {
    const whole = parseTrace('m', readFixture('serving/traces/mooncake_conversation.jsonl'));
    const scaled = scaleTrace(whole, {
      timeScale: 0.5,
      inputScale: 1 / 64,
      outputScale: 0.1,
      requests: 50,
      maxInputTokens: 100,
    });
    expect(scaled.requests.length).toBe(50);
    expect(scaled.hashBlockTokens).toBe(8);
    const prompts = new PromptSource(scaled, { seed: 3, vocabulary: 50 });
    scaled.requests.forEach((request, row) => {
      expect(request.arrivalUs).toBe(Math.round(whole.requests[row]!.arrivalUs / 2));
      const ids = prompts.tokens(row);
      expect(ids.length).toBe(request.inputTokens);
      expect(request.inputTokens).toBeLessThanOrEqual(100);
      const shared = sharedBlocks(request.hashIds!, scaled.requests[0]!.hashIds!) * 8;
      expect(ids.slice(0, shared)).toEqual(prompts.tokens(0).slice(0, Math.min(shared, ids.length)));
      if (row > 0) expect(ids).not.toEqual(prompts.tokens(0));
    });
    expect(() => scaleTrace(whole, { timeScale: 0 })).toThrow('timeScale');
  });
});

function sharedBlocks(a: readonly number[], b: readonly number[]): number {
  let count = 0;
  while (count < Math.min(a.length, b.length) && a[count] === b[count]) count++;
  return count;
}

describe('event streams and samples', () => {
  it('finds the same data however the bytes are cut', () => {
    const bytes = Buffer.from(': hello\r\n\r\ndata: é€𝄞\ndata:{"a":1}\r\n\ndata: [DONE]\n\n');
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 20 }), (cuts) => {
        const lines = new SseLines();
        const found: string[] = [];
        let from = 0;
        for (const cut of [...cuts.sort((a, b) => a - b), bytes.length]) {
          found.push(...lines.push(bytes.subarray(from, cut)));
          from = cut;
        }
        expect(found).toEqual(['é€𝄞', '{"a":1}', '[DONE]']);
      }),
      { seed: 5, numRuns: 200 },
    );
  });

  it('gives exact percentiles, and near ones when it must drop values', () => {
    const exact = new LatencySamples();
    const thinned = new LatencySamples(1024);
    for (let i = 0; i <= 10_000; i++) {
      const value = ((i * 7919) % 10_001) / 10_000;
      exact.add(value);
      thinned.add(value);
    }
    expect(exact.summary()).toMatchObject({ count: 10_001, minimum: 0, maximum: 1 });
    expect(exact.summary()!.p99).toBeCloseTo(0.99, 9);
    expect(Math.abs(thinned.summary()!.p90 - 0.9)).toBeLessThan(0.05);
    expect(new LatencySamples().summary()).toBeUndefined();
  });
});

describe('runLoad', () => {
  it('sends every request and counts what comes back', async () => {
    const url = await serve(obliging);
    const rows: number[] = [];
    const report = await runLoad({
      url: `${url}/v1/`,
      trace: trace(30),
      slo: { ttftSeconds: 30, tpotSeconds: 30 },
      keepRows: true,
      onRequest: ({ index }) => rows.push(index),
    });
    expect(LoadReport.parse(report)).toEqual(report);
    expect(report.target).toEqual({ url, model: 'words', endpoint: 'completions' });
    expect(report.requests).toMatchObject({ sent: 30, completed: 30 });
    expect(report.tokens).toEqual({ prompt: 210, cached: 90, completion: 120 });
    expect(report.attainment).toEqual({ all: 1, ttft: 1, tpot: 1 });
    expect(report.latency.ttftSeconds?.count).toBe(30);
    expect(report.latency.interTokenSeconds?.count).toBe(90);
    expect(report.errors).toEqual([]);
    expect(report.rows?.map(({ index }) => index)).toEqual(Array.from({ length: 30 }, (_, row) => row));
    expect(rows.length).toBe(30);
    expect(report.timeline.at(-1)?.running).toBe(0);
  });

  it('keeps to its concurrency when closed', async () => {
    let running = 0;
    let most = 0;
    const url = await serve((body, response) => {
      most = Math.max(most, ++running);
      setImmediate(() => {
        running--;
        obliging(body, response, undefined as never);
      });
    });
    const report = await runLoad({ url, trace: trace(40), arrivals: 'closed', concurrency: 4 });
    expect(report.requests.completed).toBe(40);
    expect(most).toBeLessThanOrEqual(4);
  });

  it('counts failures by kind: refused, error frames, streams that break off or end too soon', async () => {
    const faults: Answer[] = [
      (_, response) => {
        response.writeHead(429, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ error: { message: 'full', code: 'queue_full' } }));
      },
      (_, response) =>
        response.end(`${chunk('a')}${frame({ error: { message: 'broke', code: 'x' } })}data: [DONE]\n\n`),
      (_, response) => {
        response.write(chunk('a'));
        setImmediate(() => response.destroy());
      },
      (_, response) => response.end(chunk('a', 'stop')),
      (_, response) => response.end('data: no json\n\n'),
      (_, response) => {
        response.writeHead(400);
        response.end(JSON.stringify({ object: 'error', message: 'flat', code: 7 }));
      },
    ];
    let next = 0;
    const url = await serve((body, response, request) =>
      (faults[next++] ?? obliging)(body, response, request),
    );
    const report = await runLoad({
      url,
      trace: trace(8),
      arrivals: 'closed',
      concurrency: 1,
      slo: { ttftSeconds: 9 },
    });
    expect(report.requests).toEqual({
      sent: 8,
      completed: 2,
      rejected: 1,
      failed: 5,
      timeout: 0,
      aborted: 0,
    });
    expect(report.attainment?.all).toBe(2 / 8);
    expect(report.errors.map(({ kind, status, code }) => [kind, status, code])).toEqual(
      expect.arrayContaining([
        ['http', 429, 'queue_full'],
        ['http', 400, '7'],
        ['stream', undefined, 'x'],
        ['protocol', undefined, undefined],
      ]),
    );
    expect(LoadReport.parse(report)).toEqual(report);
  });

  it('leaves early where the plan says so, and gives up at the deadline', async () => {
    let closed = 0;
    const url = await serve((_, response) => {
      response.on('close', () => closed++);
      response.write(chunk('a'));
    });
    const options = { url, model: 'words', trace: trace(5, 1) };
    const left = await runLoad({ ...options, abortFraction: 1 });
    expect(left.requests).toMatchObject({ aborted: 5, completed: 0 });
    const late = await runLoad({ ...options, timeoutSeconds: 0.05 });
    expect(late.requests.timeout).toBe(5);
    await expect.poll(() => closed).toBe(10);
  });

  it('sends a request again that met a connection which the server was closing', async () => {
    let seen = 0;
    const url = await serve((body, response, request) => {
      seen++;
      if (seen !== 2) obliging(body, response, request);
      // The second request comes on the connection of the first, and is not answered.
      else request.socket.destroy();
    });
    const report = await runLoad({ url, trace: trace(3), arrivals: 'closed', concurrency: 1 });
    expect(report.errors).toEqual([]);
    expect([report.requests.completed, seen]).toEqual([3, 4]);
  });

  it('stops when told to, with a report of what has ended', async () => {
    const controller = new AbortController();
    const url = await serve((body, response, request) => {
      if ((body['seed'] as number) < 5) obliging(body, response, request);
      else controller.abort();
    });
    const report = await runLoad({
      url,
      trace: trace(100),
      arrivals: 'closed',
      concurrency: 1,
      signal: controller.signal,
    });
    expect(report.requests).toMatchObject({ sent: 5, completed: 4, aborted: 1 });
    await expect(runLoad({ url, trace: trace(1), signal: controller.signal })).rejects.toMatchObject({
      name: 'AbortedError',
    });
  });

  it.each(['onRequest', 'onProgress'])('ends with what %s throws', async (callback) => {
    const url = await serve(obliging);
    const thrown = new Error('the disk is full');
    const options = {
      [callback]: () => {
        throw thrown;
      },
    };
    await expect(runLoad({ url, trace: trace(10), ...options })).rejects.toBe(thrown);
  });

  it.each([
    [{ url: 'ftp://x' }, 'url'],
    [{ arrivals: 'closed' as const }, 'concurrency'],
    [{ concurrency: 0.5 }, 'concurrency'],
    [{ prompts: 'tokens' as const, endpoint: 'chat' as const }, 'prompts'],
    [{ abortFraction: 2 }, 'abortFraction'],
    [{ timeoutSeconds: 0 }, 'timeoutSeconds'],
    [{ slo: { ttftSeconds: 0 } }, 'slo.ttftSeconds'],
    [{ seed: -1 }, 'seed'],
  ])('refuses %j', async (options, name) => {
    await expect(runLoad({ url: 'http://127.0.0.1:1', trace: trace(1), ...options })).rejects.toMatchObject({
      code: 'serving/bad-options',
      message: expect.stringContaining(name),
    });
  });

  it('says what is wrong with a server that lists no model', async () => {
    await expect(runLoad({ url: 'http://127.0.0.1:1', trace: trace(1) })).rejects.toMatchObject({
      code: 'serving/load-target',
    });
  });
});
