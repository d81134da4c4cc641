import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { OpenAiBackend, SglangBackend, VllmBackend } from '../src/index.js';
import { eventsOf, gatewayOver } from './pools/gateway-over.js';
import { poolKinds } from './pools/subjects.js';

const completions = '/v1/completions';
const whole = { model: 'm', prompt: 'a question', max_tokens: 4 };
const requests = [
  { name: 'one prompt', body: whole },
  { name: 'a list of prompts', body: { ...whole, prompt: ['a question', 'another'] } },
  { name: 'several choices', body: { ...whole, n: 2 } },
];

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

describe.each(poolKinds)('a decode server of %s that answers 200 with no JSON', (_, make) => {
  it.each(requests)('ends $name with a typed error', async ({ body }) => {
    const subject = await make({ tokens: 4 });
    stops.push(() => subject.stop());
    subject.fail('decode', () => 'no-json');
    const response = await subject.running.post(completions, body);
    const answer = await response.text();
    expect(response.status).toBe(502);
    expect(JSON.parse(answer)).toMatchObject({ error: { type: 'server_error' } });
    expect(subject.held()).toBe(0);
    subject.fail('decode', () => undefined);
    expect((await subject.running.post(completions, body)).status).toBe(200);
  });
});

/** A server that writes these bytes for each request, whatever it is asked. */
async function writes(answer: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    let head = '';
    socket.setEncoding('latin1').on('data', (text: string) => {
      head += text;
      // Requests are small, and come one by one.
      if (!head.includes('\r\n\r\n') || !head.endsWith('}')) return;
      head = '';
      answer(socket);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stops.push(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const ok = '{"choices":[{"index":0,"text":"x","finish_reason":"stop"}]}';
const event = `data: {"choices":[{"index":0,"text":"x","finish_reason":null}]}\n\n`;
const lastEvent = `data: ${ok}\n\n`;
const done = 'data: [DONE]\n\n';
const head = (status: string, type: string, length: number) =>
  `HTTP/1.1 ${status}\r\ncontent-type: ${type}\r\ncontent-length: ${length}\r\n`;
const answers = (text: string, status = '200 OK', type = 'application/json') =>
  `${head(status, type, Buffer.byteLength(text))}\r\n${text}`;
const streams = (text: string) => answers(text, '200 OK', 'text/event-stream');
const zipped = gzipSync(ok);
const wholeRequest = JSON.stringify({ model: 'm', prompt: 'a' });
const streamRequest = JSON.stringify({ model: 'm', prompt: 'a', stream: true });
const common = { name: 'pool', models: ['m'], health: false, retry: { maxAttempts: 1 } } as const;

describe('a server that answers', () => {
  const cases: [what: string, bytes: string | Buffer, body: string, code: unknown][] = [
    ['with a redirect', answers('{}', '302 Found'), wholeRequest, 'upstream_bad_answer'],
    ['with nothing', 'HTTP/1.1 204 No Content\r\n\r\n', wholeRequest, 'upstream_bad_answer'],
    ['with nothing to a stream', 'HTTP/1.1 204 No Content\r\n\r\n', streamRequest, 'upstream_bad_answer'],
    ['with a status that is none', answers('{}', '999 X'), wholeRequest, 'upstream_bad_answer'],
    [
      'with a coding that nobody asked for',
      Buffer.concat([
        Buffer.from(`${head('200 OK', 'application/json', zipped.length)}content-encoding: gzip\r\n\r\n`),
        zipped,
      ]),
      wholeRequest,
      'upstream_bad_answer',
    ],
    ['with one body where a stream was asked for', answers(ok), streamRequest, 'upstream_bad_answer'],
    [
      'with a stream where none was asked for',
      streams(event + lastEvent + done),
      wholeRequest,
      'upstream_bad_answer',
    ],
    ['200 with an error', answers('{"error":{"message":"m","code":"c"}}'), wholeRequest, 'c'],
    ['200 with a flat error', answers('{"object":"error","message":"m","code":7}'), wholeRequest, 7],
    ['200 with an error to a stream', answers('{"error":{"message":"m","code":"c"}}'), streamRequest, 'c'],
    ['with half of what it announced', answers(ok).slice(0, -9), wholeRequest, 'upstream_reset'],
    [
      'with an upgrade',
      'HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n',
      wholeRequest,
      'upstream_reset',
    ],
  ];
  it.each(cases)('%s is a typed 502', async (what, bytes, body, code) => {
    const url = await writes((socket) => {
      socket.write(bytes);
      if (what.startsWith('with half')) socket.end();
    });
    const running = await gatewayOver({ backend: new OpenAiBackend({ ...common, workers: [{ url }] }) });
    stops.push(() => running.close());
    const response = await running.post(completions, body);
    expect({ status: response.status, ...((await response.json()) as object) }).toMatchObject({
      status: 502,
      error: { message: expect.any(String), code },
    });
  });

  it('early hints first, and trailers last, is understood', async () => {
    const chunked = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n${ok.length.toString(16)}\r\n${ok}\r\n0\r\nx-after: y\r\n\r\n`;
    const url = await writes((socket) =>
      socket.write(`HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n${chunked}`),
    );
    const running = await gatewayOver({ backend: new OpenAiBackend({ ...common, workers: [{ url }] }) });
    stops.push(() => running.close());
    expect(await (await running.post(completions, wholeRequest)).text()).toBe(ok);
  });

  it('for ever after [DONE] loses its connection', async () => {
    const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
    let isClosed = false;
    const url = await writes((socket) => {
      socket.write(
        `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n${chunk(lastEvent + done)}`,
      );
      const timer = setInterval(() => socket.write(chunk(': ping\n\n')), 10);
      socket.on('close', () => {
        clearInterval(timer);
        isClosed = true;
      });
    });
    const running = await gatewayOver({ backend: new OpenAiBackend({ ...common, workers: [{ url }] }) });
    stops.push(() => running.close());
    expect(await (await running.post(completions, streamRequest)).text()).toBe(lastEvent + done);
    await expect.poll(() => isClosed).toBe(true);
  });
});

describe('an SGLang prefill server that fails while decode answers', () => {
  it('is a 502 at once, not the status that it failed with', async () => {
    let begin!: () => void;
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const prefill = await writes((socket) => {
      void begun.then(() => socket.write(answers('{"object":"error","message":"m"}', '500 X')));
    });
    const decode = await writes((socket) => void socket.write(answers(ok).slice(0, -9), begin));
    const backend = new SglangBackend({ ...common, prefill: [{ url: prefill }], decode: [{ url: decode }] });
    const running = await gatewayOver({ backend });
    stops.push(() => running.close());
    const response = await running.post(completions, wholeRequest);
    expect(response.status).toBe(502);
    expect(await response.json()).toMatchObject({ error: { code: 'upstream_failed' } });
  });
});

describe('one of two prompts that is answered', () => {
  const two = (stream: boolean) => ({ model: 'm', prompt: ['a', 'b'], stream });

  /** A vLLM pool that answers the second prompt so. */
  async function over(second: string, first: string) {
    let count = 0;
    const prefill = await writes((socket) => socket.write(answers('{"kv_transfer_params":null}')));
    const decode = await writes((socket) => socket.write(count++ === 0 ? first : second));
    const backend = new VllmBackend({
      ...common,
      prefill: [{ url: prefill }],
      decode: [{ url: decode }],
    });
    const running = await gatewayOver({ backend });
    stops.push(() => running.close());
    return running;
  }

  it.each([
    ['without a choice', '{"choices":[]}', 'upstream_bad_answer'],
    ['with an error', '{"error":{"message":"m","code":"c"}}', 'c'],
  ])('%s fails both', async (_, text, code) => {
    const running = await over(answers(text), answers(ok));
    const response = await running.post(completions, two(false));
    expect(response.status).toBe(502);
    expect(await response.json()).toMatchObject({ error: { code } });
  });

  it.each([
    ['without a finish reason', event + done, 'upstream_cut'],
    ['with a flat error', `${event}data: {"object":"error","message":"m","code":"c"}\n\n${done}`, 'c'],
  ])('%s fails the stream of both', async (_, text, code) => {
    const running = await over(streams(text), streams(event + lastEvent + done));
    const events = await eventsOf(await running.post(completions, two(true)));
    expect(events.at(-1)).toMatchObject({ error: { code } });
  });
});
