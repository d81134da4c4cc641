import { connect } from 'node:net';
import { createGateway, type Listening, listen, OpenAiBackend } from '../src/index.js';
import { type Random, seededRandom } from '../src/random.js';
import { EchoBackend } from './echo-backend.js';
import { OpenAiServer } from './pools/openai-server.js';

/** Connections at once. */
const batchSize = 150;

/** What {@link fuzz} counts. */
export interface FuzzResult {
  readonly runs: number;
  /** Answered with a status from 400 to 499, or cut off. */
  readonly rejected: number;
}

const valid = JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'größe' }], max_tokens: 3 });
const paths = [
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/responses',
  '/v1/models',
  '/health',
  '/%00',
  '/../x',
  '*',
];

/**
 * Sends hostile requests to a gateway over raw connections: broken JSON, broken HTTP, bodies that lie about their length,
 * headers beyond all bounds, connections that say nothing or stop in the middle. After each batch a good request must be answered.
 *
 * @throws Error when the gateway stops serving, answers with a status of 500 or more, or keeps requests in flight.
 */
export async function fuzz(seed: number, count: number): Promise<FuzzResult> {
  const random = seededRandom(seed);
  const server = await new OpenAiServer({ tokens: 3 }).start();
  let rejected = 0;
  const rssBefore = process.memoryUsage.rss();
  for (const backend of [
    new OpenAiBackend({ name: 'pool', health: false, workers: [{ url: server.url }] }),
    new EchoBackend(),
  ]) {
    const gateway = createGateway({ backend, maxBodyBytes: 20_000 });
    const listening = await listen(gateway, { port: 0, headSeconds: 0.3, requestSeconds: 0.6 });
    try {
      for (let done = 0; done < count / 2; done += batchSize) {
        const batch = Array.from({ length: Math.min(batchSize, count / 2 - done) }, () =>
          attack(listening, random),
        );
        for (const status of await Promise.all(batch)) {
          if (status >= 500) throw new Error(`a hostile request was answered with ${status}`);
          if (status >= 400 || status === 0) rejected += 1;
        }
        const good = await fetch(`${listening.url}/v1/chat/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: valid.replace('"m"', backend.name === 'pool' ? '"m"' : '"letters"'),
        });
        if (good.status !== 200) throw new Error(`a good request was answered with ${good.status}`);
        await good.text();
      }
      for (let wait = 0; gateway.requestsInFlight > 0; wait++) {
        if (wait === 100) throw new Error(`${gateway.requestsInFlight} requests never ended`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    } finally {
      await listening.close({ drainSeconds: 0 });
      await backend.close();
    }
  }
  await server.stop();
  const grown = process.memoryUsage.rss() - rssBefore;
  if (grown > 400e6) throw new Error(`memory grew by ${grown} bytes`);
  return { runs: count, rejected };
}

/** One hostile connection; resolves to the status of the answer, 0 for none. */
function attack(listening: Listening, random: Random): Promise<number> {
  const bytes = hostileRequest(random);
  const pick = random();
  return new Promise((resolve) => {
    const socket = connect(listening.port, listening.host);
    let answer = '';
    const end = () => {
      socket.destroy();
      resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0));
    };
    socket.setTimeout(3000, end);
    socket.on('data', (chunk) => {
      if (answer.length < 100) answer += chunk.toString('latin1');
      // A reader that leaves as soon as it has seen the status.
      if (pick < 0.5) end();
      else setTimeout(end, 30);
    });
    socket.on('error', end);
    socket.on('close', end);
    if (pick > 0.93) {
      // Nothing, or byte by byte, until the server has enough of it.
      const slow = setInterval(() => socket.write(bytes.subarray(0, 1)), 100);
      socket.on('close', () => clearInterval(slow));
    } else if (pick > 0.8) {
      socket.write(bytes.subarray(0, Math.floor(random() * bytes.byteLength)));
      setTimeout(end, 20);
    } else socket.write(bytes);
  });
}

function hostileRequest(random: Random): Buffer {
  const choose = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
  const body = hostileBody(random, choose);
  const head = [
    `${choose(['POST', 'POST', 'POST', 'GET', 'PUT', 'POST '])} ${choose(paths)} HTTP/1.1`,
    'host: localhost',
  ];
  head.push(
    `content-type: ${choose(['application/json', 'application/json', 'application/json', 'text/plain', `a/${'b'.repeat(3000)}`])}`,
  );
  const length = choose([body.byteLength, body.byteLength, body.byteLength, 5, 10 ** 9, -1]);
  head.push(
    choose([`content-length: ${length}`, `content-length: ${body.byteLength}`, 'transfer-encoding: chunked']),
  );
  if (random() < 0.2) head.push(`x-big: ${'x'.repeat(choose([100, 8000, 40_000]))}`);
  if (random() < 0.2)
    head.push(...Array.from({ length: choose([10, 500, 3000]) }, (_, index) => `x-${index}: y`));
  if (random() < 0.2)
    head.push(
      choose([
        'authorization: Bearer ',
        'expect: 100-continue',
        'connection: close',
        'x-request-id: \u0001',
        'traceparent: x',
      ]),
    );
  if (random() < 0.1) head.push('content-length: 3');
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), body]);
}

function hostileBody(random: Random, choose: <T>(items: readonly T[]) => T): Buffer {
  switch (Math.floor(random() * 7)) {
    case 0:
      return Buffer.from(valid);
    case 1: {
      const bytes = Buffer.from(valid);
      for (let flips = 0; flips < 4; flips++)
        bytes[Math.floor(random() * bytes.byteLength)] = Math.floor(random() * 256);
      return bytes;
    }
    case 2:
      return Buffer.from(valid.slice(0, Math.floor(random() * valid.length)));
    case 3:
      return Buffer.from(`{"a":${'['.repeat(choose([10, 9000, 30_000]))}`);
    case 4:
      return Buffer.from(`{"messages":"${'x'.repeat(choose([100, 19_000, 60_000]))}"}`);
    case 5:
      return Buffer.from(
        valid.replace('3', choose(['1e999', '-1', '"x"', 'null', '[]', '1E-400', '18446744073709551616'])),
      );
    default:
      return Buffer.from(
        valid.replace(
          '"messages"',
          choose(['"__proto__"', '"rid"', '"n"', '"model"', '"stream"', '"\\ud800"']),
        ),
      );
  }
}
