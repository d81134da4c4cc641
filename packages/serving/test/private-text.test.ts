import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  type AnyBackend,
  createGateway,
  type GatewayGuardrail,
  OpenAiBackend,
  SglangBackend,
  VllmBackend,
} from '../src/index.js';
import { EchoBackend } from './echo-backend.js';
import { post } from './http.js';
import { gatewayOver } from './pools/gateway-over.js';

const promptText = 'PROMPTSECRET';
const answerText = 'ANSWERSECRET';

type Faulty = (request: IncomingMessage, body: string, response: ServerResponse) => void;

const json = (response: ServerResponse, status: number, text: string) =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(text);

/** Answers that go wrong, each with text of the prompt or an answer in it. */
const faults: Readonly<Record<string, Faulty>> = {
  'no JSON': (_, __, response) => json(response, 200, `${answerText} is no json`),
  'a list': (_, __, response) => json(response, 200, JSON.stringify([answerText])),
  'choices without objects': (_, __, response) =>
    json(response, 200, JSON.stringify({ choices: [answerText] })),
  'an error that quotes the request': (_, body, response) =>
    json(response, 500, JSON.stringify({ error: { message: `bad ${body}` } })),
  'a refusal that quotes the request': (_, body, response) =>
    json(response, 400, JSON.stringify({ error: { message: `bad ${body}` } })),
  'a line that is no HTTP': (request) => void request.socket.end(`${answerText} garbage\r\n\r\n`),
  'a header that is none': (request) =>
    void request.socket.end(`HTTP/1.1 200 OK\r\nx: ${answerText}\u0001\r\n\r\n`),
  'an event without JSON, then the end': (_, __, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(`data: ${answerText}\n\n`);
  },
  'an event whose choice is no object': (_, __, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end(`data: {"choices":["${answerText}"],"error":null}\n\ndata: [DONE]\n\n`);
  },
  'half a body': (_, __, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
    response.write(`{"choices":[{"text":"${answerText}`, () => response.destroy());
  },
  'the end of the connection': (request) => void request.socket.destroy(),
};

const handOver: Faulty = (_, __, response) =>
  json(
    response,
    200,
    '{"id":"x","choices":[],"kv_transfer_params":{"do_remote_prefill":true,"do_remote_decode":false,"remote_engine_id":"e","remote_block_ids":[1],"remote_host":"h","remote_port":1}}',
  );

const answers: { prefill: Faulty; decode: Faulty } = { prefill: handOver, decode: handOver };
const servers: Server[] = [];
const urls = { prefill: '', decode: '' };

beforeAll(async () => {
  for (const leg of ['prefill', 'decode'] as const) {
    const server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8');
      request.on('data', (chunk: string) => {
        body += chunk;
      });
      request.on('end', () => answers[leg](request, body, response));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    servers.push(server);
    urls[leg] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }
});
afterAll(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

const written: string[] = [];
const rejections: unknown[] = [];
const onRejection = (error: unknown) => rejections.push(error);
beforeEach(() => {
  for (const stream of [process.stderr, process.stdout]) {
    vi.spyOn(stream, 'write').mockImplementation((chunk) => written.push(String(chunk)) > 0);
  }
  process.on('unhandledRejection', onRejection);
});
afterEach(() => {
  vi.restoreAllMocks();
  process.off('unhandledRejection', onRejection);
  written.length = 0;
  rejections.length = 0;
});

const common = {
  name: 'pool',
  models: ['m'],
  health: false,
  retry: { maxAttempts: 1 },
  breaker: { failures: 1e6 },
} as const;

const pools: readonly (readonly [name: string, legs: readonly ('prefill' | 'decode')[], () => AnyBackend])[] =
  [
    ['plain servers', ['decode'], () => new OpenAiBackend({ ...common, workers: [{ url: urls.decode }] })],
    [
      'vLLM pools',
      ['prefill', 'decode'],
      () => new VllmBackend({ ...common, prefill: [{ url: urls.prefill }], decode: [{ url: urls.decode }] }),
    ],
    [
      'vLLM Mooncake pools',
      ['prefill', 'decode'],
      () =>
        new VllmBackend({
          ...common,
          connector: 'mooncake-legacy',
          prefill: [{ url: urls.prefill }],
          decode: [{ url: urls.decode }],
        }),
    ],
    [
      'SGLang pools',
      ['prefill', 'decode'],
      () =>
        new SglangBackend({ ...common, prefill: [{ url: urls.prefill }], decode: [{ url: urls.decode }] }),
    ],
  ];

const blocksAnswers: GatewayGuardrail = {
  onlyAnnotates: false,
  check: async (text, source) => ({ action: source === 'OUTPUT' ? 'blocked' : 'none', text }),
};

const requests = {
  'one prompt': { prompt: promptText },
  'several prompts': { prompt: [promptText, `${promptText}2`] },
  'one prompt, streamed': { prompt: promptText, stream: true },
  'several prompts, streamed': { prompt: [promptText, 'b'], stream: true },
} as const;

describe.each(pools)('failures of %s', (_, legs, makeBackend) => {
  it.each([
    ['', undefined],
    [' with a guardrail', blocksAnswers],
  ])(
    'hold no text when they are logged%s',
    async (__, guardrail) => {
      const running = await gatewayOver({
        backend: makeBackend(),
        ...(guardrail !== undefined && { guardrail }),
      });
      let logged = 0;
      for (const leg of legs) {
        for (const [fault, answer] of Object.entries(faults)) {
          answers.prefill = leg === 'prefill' ? answer : handOver;
          answers.decode = answer;
          for (const [kind, body] of Object.entries(requests)) {
            const label = `${leg}: ${fault}, ${kind}`;
            running.errors.length = 0;
            const response = await running.post(
              '/v1/completions',
              { model: 'm', ...body },
              { signal: AbortSignal.timeout(5000) },
            );
            const text = await response.text();
            if (guardrail !== undefined) expect(text, label).not.toContain(answerText);
            logged += running.errors.length;
            // With causes, hidden and own properties, as a logger may print them.
            const log = inspect(running.errors, { depth: null, showHidden: true, maxStringLength: null });
            expect(log, label).not.toMatch(/SECRET/);
          }
        }
      }
      await running.close();
      expect(logged).toBeGreaterThan(0);
      expect(written).toEqual([]);
      expect(rejections).toEqual([]);
    },
    60_000,
  );
});

describe('failures of a backend of this process', () => {
  it.each([false, true])('reach the client without their words, streamed: %s', async (stream) => {
    const backend = new EchoBackend();
    vi.spyOn(backend, 'generate').mockImplementation(async function* () {
      yield { type: 'start', promptTokens: 1, cachedTokens: 0 } as never;
      throw new TypeError(`cannot read ${promptText}`);
    });
    const request = { model: 'letters', prompt: promptText, stream };
    const response = await post(createGateway({ backend }), '/v1/completions', request);
    const text = await response.text();
    expect(text).toContain('internal error');
    expect(text).not.toContain(promptText);
    expect(written).toEqual([]);
  });
});
