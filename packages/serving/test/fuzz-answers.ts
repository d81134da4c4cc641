import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Below, type FuzzResult, fuzzed, mutateText } from '@moestack/fixtures';
import { createGateway, ErrorBody, type Gateway, OpenAiBackend } from '../src/index.js';
import { post } from './http.js';

const head = { id: 'chatcmpl-1', created: 1, model: 'm' };
const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
const chunk = (more: object): string =>
  `data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', ...more })}\n\n`;
const whole = JSON.stringify({
  ...head,
  object: 'chat.completion',
  choices: [{ index: 0, message: { role: 'assistant', content: 'ab' }, finish_reason: 'stop' }],
  usage,
});
const streamed = [
  chunk({ choices: [{ index: 0, delta: { role: 'assistant', content: 'a' }, finish_reason: null }] }),
  ': still here\n\n',
  chunk({ choices: [{ index: 0, delta: { content: 'b' }, finish_reason: 'stop' }] }),
  chunk({ choices: [], usage }),
  'data: [DONE]\n\n',
].join('');

/** The gateway told its client that the answer was none. */
class Refused extends Error {}

/**
 * Puts a gateway before a server whose answers are damaged, whole and streamed ones.
 *
 * @throws Error when a client gets anything but JSON with a status, or a stream that ends in `[DONE]`.
 */
export async function fuzz(seed: number, runs: number): Promise<FuzzResult> {
  let answer: { type: string; body: Uint8Array } = { type: 'application/json', body: new Uint8Array(0) };
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader('content-type', answer.type);
    response.end(answer.body);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const backend = new OpenAiBackend({
    name: 'pool',
    health: false,
    retry: { maxAttempts: 1 },
    breaker: { failures: Number.MAX_SAFE_INTEGER },
    workers: [{ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }],
  });
  const gateway = createGateway({ backend });
  try {
    return await fuzzed(
      seed,
      runs,
      (error) => error instanceof Refused,
      async (below) => {
        const stream = below(2) === 0;
        const body = damaged(stream ? streamed : whole, below);
        answer = {
          type: below(8) === 0 ? 'text/plain' : stream ? 'text/event-stream' : 'application/json',
          body,
        };
        await ask(gateway, stream);
      },
    );
  } finally {
    await backend.close();
    server.close();
    server.closeAllConnections();
  }
}

function damaged(text: string, below: Below): Buffer {
  const bytes = Buffer.from(mutateText(text, below));
  if (below(4) === 0 && bytes.length > 0) bytes[below(bytes.length)] = below(256);
  return bytes;
}

async function ask(gateway: Gateway, stream: boolean): Promise<void> {
  const messages = [{ role: 'user', content: 'hi' }];
  const response = await post(gateway, '/v1/chat/completions', { model: 'm', messages, stream });
  if (response.status !== 200) {
    ErrorBody.parse(await response.json());
    throw new Refused(`status ${response.status}`);
  }
  if (!stream) {
    await response.json();
    return;
  }
  const text = await response.text();
  if (!/data: ?\[DONE\](?:\r?\n){1,2}$/.test(text))
    throw new Error(`the stream does not end: ${text.slice(-200)}`);
  if (text.includes('"server_error"')) throw new Refused('an error in the stream');
}
