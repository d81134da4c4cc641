import { afterEach, describe, expect, it } from 'vitest';
import { SglangBackend, VllmBackend } from '../src/index.js';
import { aborted, answerText, type Fault } from './pools/engine-server.js';
import { chatText, eventsOf, gatewayOver, type Running } from './pools/gateway-over.js';
import { OpenAiServer } from './pools/openai-server.js';
import { SglangPair } from './pools/sglang-pair.js';
import { type PoolSubject, poolKinds, vllmSubject } from './pools/subjects.js';
import { VllmPair } from './pools/vllm-pair.js';

const path = '/v1/chat/completions';
const body = (more: object = {}) => ({ model: 'm', messages: [{ role: 'user', content: 'hi' }], ...more });
const stream = (more: object = {}) => body({ stream: true, ...more });

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

const retry = { maxAttempts: 1 };
type Make = (typeof poolKinds)[number][1];
/** Stopped after the test. */
const made = async (make: Make, ...options: Parameters<Make>): Promise<PoolSubject> => {
  const subject = await make(...options);
  stops.push(() => subject.stop());
  return subject;
};

describe.each(poolKinds)('%s pools', (name, make) => {
  const requests = name === 'vLLM Mooncake' ? 400 : 1000;

  it('answer whole and streamed with the same text, cut wherever it may be', async () => {
    const { running, violations } = await made(make);
    const whole = (await (await running.post(path, body())).json()) as {
      choices: { message: { content: string } }[];
    };
    expect(whole.choices[0]!.message.content).toBe(answerText(8));
    const response = await running.post(path, stream({ stream_options: { include_usage: true } }));
    const events = await eventsOf(response);
    expect(chatText(events)).toBe(answerText(8));
    expect(events.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 8 } });
    expect(violations()).toEqual([]);
  });

  it('answer n choices and lists of prompts, each with blocks of its own', async () => {
    const { running, held, violations } = await made(make);
    const many = stream({ n: 3, seed: '@', stream_options: { include_usage: true } });
    const text = JSON.stringify(many).replace('"@"', '9223372036854775800');
    const events = await eventsOf(await running.post(path, text));
    for (const index of [0, 1, 2]) expect(chatText(events, index)).toBe(answerText(8));
    expect(new Set(events.map((event) => event['id'])).size).toBe(1);
    const usages = events.filter((event) => (event['choices'] as unknown[]).length === 0);
    expect(usages).toMatchObject([{ usage: { prompt_tokens: 3, completion_tokens: 24 } }]);
    const prompts = { model: 'm', prompt: ['a', 'b'], n: 2, max_tokens: 2 };
    const whole = (await (await running.post('/v1/completions', prompts)).json()) as {
      choices: { index: number; text: string }[];
      usage: object;
    };
    expect(whole.choices.map((choice) => choice.index)).toEqual([0, 1, 2, 3]);
    expect(whole.choices.every((choice) => choice.text === answerText(2))).toBe(true);
    expect(whole.usage).toMatchObject({ prompt_tokens: 6, completion_tokens: 8 });
    expect(
      await (await running.post('/v1/completions', { model: 'm', prompt: [[1, 2], [3]] })).json(),
    ).toMatchObject({
      choices: [{ index: 0 }, { index: 1 }],
    });
    expect(violations()).toEqual([]);
    expect(held()).toBe(0);
  });

  it.each([
    ['prefill', 'error-500'],
    ['prefill', 'reset'],
    ['decode', 'error-500'],
    ['decode', 'reset'],
  ] as const)('tell of a failing %s leg (%s) at once, with a nested error', async (leg, fault) => {
    const { running, held, busy, fail } = await made(make);
    fail(leg, () => fault);
    const response = await running.post(path, stream());
    expect(response.status).toBe(
      fault === 'error-500' && (leg === 'decode' || name !== 'SGLang') ? 500 : 502,
    );
    const answer = (await response.json()) as { error: { message: string; type: string } };
    expect(answer.error.message).toMatch(/broke|failed/);
    await expect.poll(busy).toBe(0);
    expect(held()).toBe(0);
  });

  it('pass on what is the fault of the request', async () => {
    const { running, fail, held } = await made(make);
    fail('prefill', () => 'error-400');
    fail('decode', () => 'error-400');
    const response = await running.post(path, stream());
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: 400, type: 'BadRequestError' } });
    await expect.poll(held).toBe(0);
  });

  it.each(['reset-mid-stream', 'no-finish'] as const)(
    'end a stream that breaks (%s) with an error and [DONE]',
    async (fault) => {
      const { running, fail, held, busy } = await made(make);
      fail('decode', () => fault);
      const events = await eventsOf(await running.post(path, stream()));
      expect(events.at(-1)).toMatchObject({
        error: { message: expect.stringContaining('failed'), type: 'server_error' },
      });
      await expect.poll(busy).toBe(0);
      expect(held()).toBe(0);
    },
  );

  it('try again with a new round before the first byte, never after', async () => {
    const { running, fail, held, violations } = await made(make, {}, { maxAttempts: 3 });
    fail('prefill', (index) => (index === 0 ? 'error-500' : undefined));
    fail('decode', (index) => (index === 0 ? 'reset' : index === 2 ? 'reset-mid-stream' : undefined));
    expect(chatText(await eventsOf(await running.post(path, stream())))).toBe(answerText(8));
    const retries = running.events.filter((event) => event.type === 'retry').length;
    expect(retries).toBeGreaterThan(0);
    for (let n = 0; n < 3; n++) await (await running.post(path, stream())).text();
    const cut = running.events.filter((event) => event.type === 'finished' && event.outcome === 'failed');
    expect(cut.length).toBeLessThanOrEqual(1);
    expect(violations()).toEqual([]);
    await expect.poll(held).toBe(0);
  });

  it(`leave nothing behind after ${requests} requests, a third of them left, a tenth of the legs failing`, async () => {
    const { running, held, busy, violations, fail } = await made(
      make,
      { tokenDelayMs: 1, tokens: 4 },
      { maxAttempts: 2 },
    );
    let state = 12345;
    const random = () => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return state / 4_294_967_296;
    };
    const nFaults = name === 'vLLM' ? 4 : name === 'SGLang' ? 2 : 3;
    const faults: Fault[] = ['error-500', 'reset', 'overloaded', 'null-handoff'];
    const decodeFaults: Fault[] = ['error-500', 'reset', 'reset-mid-stream', 'no-finish'];
    fail('prefill', () => (random() < 0.1 ? faults[Math.floor(random() * nFaults)] : undefined));
    fail('decode', () => (random() < 0.1 ? decodeFaults[Math.floor(random() * 4)] : undefined));
    let answered = 0;
    let left = 0;
    const one = async (index: number): Promise<void> => {
      const leaves = random() < 0.3;
      const client = new AbortController();
      const timer = leaves ? setTimeout(() => client.abort(), random() * 40) : undefined;
      const more = index % 7 === 0 ? { n: 2 } : {};
      try {
        const response = await running.post(path, index % 3 === 0 ? body(more) : stream(more), {
          signal: client.signal,
        });
        const text = await response.text();
        if (response.headers.get('content-type')?.startsWith('text/event-stream')) {
          expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
          expect(/"finish_reason":"length"|"error"/.test(text)).toBe(true);
        } else JSON.parse(text);
        answered += 1;
      } catch (error) {
        if (!client.signal.aborted) throw error;
        left += 1;
      } finally {
        clearTimeout(timer);
      }
    };
    let next = 0;
    const client = async (): Promise<void> => {
      while (next < requests) await one(next++);
    };
    await Promise.all(Array.from({ length: 50 }, client));
    expect(answered + left).toBe(requests);
    expect(left).toBeGreaterThan(requests / 10);
    await expect.poll(busy, { timeout: 10_000 }).toBe(0);
    await expect.poll(held, { timeout: 10_000 }).toBe(0);
    expect(violations()).toEqual([]);
    const received = running.events.filter((event) => event.type === 'received');
    await expect
      .poll(() => running.events.filter((event) => event.type === 'finished').length)
      .toBe(received.length);
    expect(running.events.filter((event) => event.type === 'handoff' && event.result === 'lost')).toEqual([]);
  }, 120_000);
});

describe('a client of vLLM pools that leaves', () => {
  const pairOver = async (cancelGraceSeconds = 2) => {
    const pair = await new VllmPair({ tokenDelayMs: 5 }).start();
    const backend = new VllmBackend({
      name: 'pd',
      health: false,
      cancelGraceSeconds,
      prefill: [{ url: pair.prefill.url }],
      decode: [{ url: pair.decode.url }],
    });
    const running = await gatewayOver({ backend });
    stops.push(
      () => pair.stop(),
      () => running.close(),
    );
    return { pair, running, client: new AbortController() };
  };
  const isFinished = (running: Running) => running.events.some((event) => event.type === 'finished');
  const settled = async ({ pair, running }: Awaited<ReturnType<typeof pairOver>>, results: string[]) => {
    const handoffs = () =>
      running.events.flatMap((event) => (event.type === 'handoff' ? [event.result] : []));
    await expect.poll(() => isFinished(running), { timeout: 5000 }).toBe(true);
    await expect.poll(handoffs, { timeout: 5000 }).toEqual(results);
    await expect.poll(() => pair.running, { timeout: 5000 }).toBe(0);
    expect(pair.pinned).toBe(0);
    expect(pair.violations).toEqual([]);
    expect(running.events.findLast((event) => event.type === 'finished')).toMatchObject({
      outcome: 'aborted',
    });
  };

  it('while prefill computes ends that leg and calls no decode server', async () => {
    const setup = await pairOver();
    const { pair, running, client } = setup;
    pair.prefill.gate = (_, closed) => {
      client.abort();
      return aborted(closed);
    };
    await expect(running.post(path, stream(), { signal: client.signal })).rejects.toThrow();
    await settled(setup, []);
    expect(pair.decode.seen).toEqual([]);
  });

  it('just before prefill answers still has the blocks delivered', async () => {
    const setup = await pairOver();
    const { pair, running, client } = setup;
    pair.prefill.gate = async () => client.abort();
    await expect(running.post(path, stream(), { signal: client.signal })).rejects.toThrow();
    await settled(setup, ['released']);
    expect(pair.decode.seen).toHaveLength(1);
  });

  it.each([true, false])(
    'before decode has admitted still has the blocks delivered (stream: %s)',
    async (streams) => {
      const setup = await pairOver();
      const { pair, running, client } = setup;
      pair.decode.gate = async (point) => {
        if (point !== 'arrived') return;
        client.abort();
        await expect.poll(() => isFinished(running), { timeout: 5000, interval: 5 }).toBe(true);
      };
      await expect(
        running.post(path, body({ stream: streams }), { signal: client.signal }),
      ).rejects.toThrow();
      await settled(setup, ['released']);
    },
  );

  it('before the first byte ends the decode leg after the grace', async () => {
    const setup = await pairOver(0.1);
    const { pair, running, client } = setup;
    pair.decode.gate = (point, closed) => {
      if (point === 'arrived') return undefined;
      client.abort();
      return aborted(closed);
    };
    await expect(running.post(path, stream(), { signal: client.signal })).rejects.toThrow();
    await settled(setup, ['released']);
  });

  it('in the middle of the stream ends the decode leg', async () => {
    const setup = await pairOver();
    const { pair, running, client } = setup;
    const response = await running.post(path, stream(), { signal: client.signal });
    await response.body!.getReader().read();
    client.abort();
    await settled(setup, ['delivered']);
    expect(pair.decode.seen).toHaveLength(1);
  });
});

it('gives blocks that a decode server cannot even be asked for to another', async () => {
  const pair = await new VllmPair().start();
  const dead = await new OpenAiServer().start();
  await dead.stop();
  const backend = new VllmBackend({
    name: 'pd',
    health: false,
    retry,
    prefill: [{ url: pair.prefill.url }],
    decode: [{ url: dead.url }, { url: pair.decode.url }],
  });
  const running = await gatewayOver({ backend });
  stops.push(
    () => pair.stop(),
    () => running.close(),
  );
  for (let n = 0; n < 4; n++)
    expect(chatText(await eventsOf(await running.post(path, stream())))).toBe(answerText(8));
  expect(pair.pinned).toBe(0);
  expect(pair.prefill.seen).toHaveLength(4);
  expect(pair.violations).toEqual([]);
});

it('counts prefills that hand nothing over', async () => {
  const { running, fail, violations } = await made(vllmSubject);
  fail('prefill', () => 'null-handoff');
  expect(chatText(await eventsOf(await running.post(path, stream())))).toBe(answerText(8));
  expect(running.events).toContainEqual(expect.objectContaining({ type: 'handoff', result: 'null' }));
  expect(violations()).toEqual([]);
});

it('ends the prefill leg when the decode server of SGLang cannot be reached', async () => {
  const pair = await new SglangPair().start();
  const dead = await new OpenAiServer().start();
  await dead.stop();
  const backend = new SglangBackend({
    name: 'pd',
    health: false,
    retry,
    prefill: [{ url: pair.prefill.url }],
    decode: [{ url: dead.url }],
  });
  const running = await gatewayOver({ backend });
  stops.push(
    () => pair.stop(),
    () => running.close(),
  );
  const response = await running.post(path, stream());
  expect(response.status).toBe(502);
  expect(await response.json()).toMatchObject({ error: { code: 'upstream_unreachable' } });
  await expect.poll(() => pair.openRooms + pair.running).toBe(0);
});
