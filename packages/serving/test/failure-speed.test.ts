import { afterEach, describe, expect, it } from 'vitest';
import { OpenAiBackend } from '../src/index.js';
import type { Fault } from './pools/engine-server.js';
import { gatewayOver } from './pools/gateway-over.js';
import { OpenAiServer } from './pools/openai-server.js';
import { poolKinds } from './pools/subjects.js';

const path = '/v1/chat/completions';
const body = (stream: boolean) => ({ model: 'm', messages: [{ role: 'user', content: 'hi' }], stream });
/** The feature: how long after the failing answer the client knows. */
const limitMs = 250;
/** A machine that is busy for a moment is no slow code; code that waits for a timer is slow every time. */
const tries = 5;

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

/** The shortest time between the failing answer of a server and the end of the client's answer. */
async function quickest(
  ask: () => Promise<Response>,
  failedAtMs: () => number,
): Promise<{ delayMs: number; answer: string }> {
  let delayMs = Number.POSITIVE_INFINITY;
  let answer = '';
  for (let n = 0; n < tries && delayMs >= limitMs / 10; n++) {
    const before = performance.now();
    const response = await ask();
    answer = await response.text();
    const failed = failedAtMs();
    expect(failed).toBeGreaterThan(before);
    delayMs = Math.min(delayMs, performance.now() - failed);
  }
  return { delayMs, answer };
}

const early: Fault[] = ['error-500', 'error-400', 'reset'];
const late: Fault[] = ['reset-mid-stream', 'no-finish'];
const cases = [
  ...early.flatMap((fault) => [
    { leg: 'prefill', fault, stream: true } as const,
    { leg: 'decode', fault, stream: true } as const,
    { leg: 'prefill', fault, stream: false } as const,
    { leg: 'decode', fault, stream: false } as const,
  ]),
  ...late.map((fault) => ({ leg: 'decode', fault, stream: true }) as const),
  { leg: 'decode', fault: 'reset-mid-stream', stream: false } as const,
];

describe.each(poolKinds)('a client of %s pools', (_, make) => {
  it('is told within 250 ms of the answer that fails, whatever fails', async () => {
    const subject = await make({ tokens: 4 });
    stops.push(() => subject.stop());
    for (const { leg, fault, stream } of cases) {
      subject.fail(leg === 'prefill' ? 'decode' : 'prefill', () => undefined);
      subject.fail(leg, () => fault);
      const { delayMs, answer } = await quickest(
        () => subject.running.post(path, body(stream)),
        () => subject.servers[leg].failedAtMs,
      );
      const label = `${leg} ${fault}${stream ? ', streamed' : ''}`;
      expect(answer, label).toContain('"error"');
      expect(delayMs, label).toBeLessThan(limitMs);
      await expect.poll(subject.busy, { timeout: 5000 }).toBe(0);
      expect(subject.held(), label).toBe(0);
    }
    expect(subject.violations()).toEqual([]);
  }, 30_000);
});

it('is told within 250 ms by plain servers too', async () => {
  const server = await new OpenAiServer({ tokens: 4 }).start();
  const backend = new OpenAiBackend({
    name: 'pool',
    health: false,
    retry: { maxAttempts: 1 },
    breaker: { failures: 1e6 },
    workers: [{ url: server.url }],
  });
  const running = await gatewayOver({ backend });
  stops.push(
    () => server.stop(),
    () => running.close(),
  );
  for (const { leg, fault, stream } of cases) {
    if (leg === 'prefill') continue;
    server.fault = () => fault;
    const { delayMs, answer } = await quickest(
      () => running.post(path, body(stream)),
      () => server.failedAtMs,
    );
    expect(answer, fault).toContain('"error"');
    expect(delayMs, fault).toBeLessThan(limitMs);
  }
}, 30_000);
