import { fileURLToPath } from 'node:url';
import { loadTokenizer } from '@moestack/model';
import { Scheduler, type SchedulerConfig } from '@moestack/scheduler';
import { tinyMoe } from '@moestack/tiny-moe';
import { describe, expect, it } from 'vitest';
import { Engine } from '../src/embedded/engine.js';
import { EngineBackend } from '../src/embedded/engine-backend.js';
import { EngineMonitor } from '../src/embedded/engine-monitor.js';
import { EngineSupervisor } from '../src/embedded/engine-supervisor.js';
import { PromptEncoder } from '../src/embedded/prompt-encoder.js';
import { RankStepEngine } from '../src/embedded/rank-step-engine.js';
import { type ApiKey, createGateway, type GatewayEvent, hashApiKey } from '../src/index.js';
import { EchoBackend } from './echo-backend.js';
import { post } from './http.js';
import { LoopbackChannel } from './loopback-channel.js';
import { nextTokenRuntime } from './next-token-runtime.js';

const directory = fileURLToPath(tinyMoe);
const vocabulary = 300;
const maxSequences = 8;

/** Only its arithmetic is not the real engine's. */
const runtime = nextTokenRuntime(vocabulary);

/** The embedded backend over ranks without threads. */
async function embedded(): Promise<{ backend: EngineBackend; channel: LoopbackChannel }> {
  const tokenizer = await loadTokenizer(directory);
  const scheduler: SchedulerConfig = {
    blockSizeTokens: 4,
    maxWaiting: 1000,
    maxContextTokens: 32,
    fairness: { maxTenants: 8 },
    stages: [{ name: 'mixed', role: 'mixed', blocks: 64, tokenBudget: 16, maxSequences }],
  };
  let timeUs = 0;
  const clock = { nowUs: () => timeUs++, unixSeconds: () => 0 };
  const monitor = new EngineMonitor({ clock, scheduler, slo: {}, admission: {} });
  const channel = new LoopbackChannel('mixed', runtime, { maxSequences, maxBlocks: 9 });
  const steps = new RankStepEngine([channel]);
  const engine = await EngineSupervisor.start(
    {
      retries: 0,
      restarts: 0,
      maxWaiting: 1000,
      clock,
      onRestart: () => undefined,
      start: async (ranks) => ({
        engine: new Engine(new Scheduler(scheduler), steps, { config: scheduler, monitor }),
        ranks,
        weightBytes: 0,
        balancers: [],
        experts: [],
        lost: () => steps.lost,
        onLost: (listener) => steps.listen(listener),
      }),
    },
    { mixed: 1 },
  );
  const backend = new EngineBackend({
    name: 'embedded',
    card: { id: 'm', contextTokens: 32 },
    tokenizer,
    encoder: new PromptEncoder({
      directory,
      tokenizer,
      limits: { contextTokens: 32, vocabulary, longestToken: 64 },
      maxWaiting: 1,
    }),
    defaults: { sampling: { temperature: 0, topP: 1, topK: 0, minP: 0 }, maxNewTokens: undefined },
    engine,
    monitor,
    randomSeed: () => 0,
  });
  return { backend, channel };
}

const path = '/v1/completions';
const keys: readonly ApiKey[] = [
  { id: 'light', sha256: hashApiKey('light') },
  { id: 'heavy', sha256: hashApiKey('heavy'), weight: 3 },
];
const as = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });

describe('API keys at an embedded engine', () => {
  it('get its tokens by weight while both have more to do than it can', async () => {
    const { backend } = await embedded();
    const events: GatewayEvent[] = [];
    const gateway = createGateway({ backend, keys, observer: { observe: (event) => events.push(event) } });
    const tokens: Record<string, number> = { light: 0, heavy: 0 };
    const wanted = 4000;
    const client = async (key: string, length: number) => {
      while (tokens['light']! + tokens['heavy']! < wanted) {
        const response = await post(
          gateway,
          path,
          { prompt: [1], max_tokens: length, ignore_eos: true },
          as(key),
        );
        expect(response.status).toBe(200);
        const { usage } = (await response.json()) as { usage: { total_tokens: number } };
        tokens[key]! += usage.total_tokens;
      }
    };
    // Requests of the heavy key are longer, so that equal turns would not do.
    const clients = Array.from({ length: 24 }, () => [client('light', 4), client('heavy', 6)]);
    await Promise.all(clients.flat());
    const ratio = tokens['heavy']! / tokens['light']!;
    expect(ratio).toBeGreaterThan(2.7);
    expect(ratio).toBeLessThan(3.3);
    const ends = events.filter((event) => event.type === 'finished');
    expect(ends.every((event) => event.outcome === 'ok')).toBe(true);
    expect(backend.metrics()).toMatchObject({ runningRequests: 0, waitingRequests: 0 });
    await backend.close();
  });

  it('are the tenants of what they ask for, by every route', async () => {
    const backend = new EchoBackend();
    const gateway = createGateway({ backend, keys });
    const chat = { messages: [{ role: 'user', content: 'a' }] };
    await post(gateway, path, { prompt: ['a', 'b'], n: 2 }, as('heavy'));
    await post(gateway, '/v1/chat/completions', chat, as('light'));
    await post(gateway, '/v1/responses', { input: 'a' }, as('heavy'));
    const heavy = { id: 'heavy', weight: 3 };
    expect(backend.seen.map(({ tenant }) => tenant)).toEqual([
      ...Array(4).fill(heavy),
      { id: 'light' },
      heavy,
    ]);
    // Whoever is let in without a key is nobody in particular, whatever the body says.
    await post(createGateway({ backend }), path, { prompt: 'a', tenant: { id: 'heavy' } });
    expect(backend.seen.at(-1)).not.toHaveProperty('tenant');
  });

  it('must have a weight that is a share', () => {
    for (const weight of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() =>
        createGateway({ backend: new EchoBackend(), keys: [{ ...keys[0]!, weight }] }),
      ).toThrowError(/expected a weight above 0/);
    }
  });
});

describe('priority', () => {
  it('serves lower values first, as vLLM has it', async () => {
    const { backend, channel } = await embedded();
    const gateway = createGateway({ backend });
    channel.held = true;
    const order: number[] = [];
    const send = async (priority: number | undefined, field: object) => {
      const response = await post(gateway, path, { max_tokens: 4, prompt: [1], ignore_eos: true, ...field });
      expect(response.status).toBe(200);
      await response.text();
      if (priority !== undefined) order.push(priority);
    };
    // These take every place, then the others wait.
    const first = Array.from({ length: maxSequences * 2 }, () => send(undefined, { priority: -9 }));
    await expect.poll(() => backend.metrics().waitingRequests).toBe(maxSequences * 2 - 1);
    const priorities = [5, 0, -5, 3, -1];
    const rest = priorities.flatMap((priority) =>
      Array.from({ length: maxSequences }, () => send(priority, priority === 0 ? {} : { priority })),
    );
    await expect
      .poll(() => backend.metrics().waitingRequests)
      .toBe(maxSequences * (2 + priorities.length) - 1);
    channel.release();
    await Promise.all([...first, ...rest]);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    await backend.close();
  });

  it('reaches backends from every route, and must be an integer', async () => {
    const backend = new EchoBackend();
    const gateway = createGateway({ backend });
    await post(gateway, '/v1/chat/completions', { messages: [{ role: 'user', content: 'a' }], priority: -2 });
    await post(gateway, '/v1/responses', { input: 'a', priority: 7 });
    await post(gateway, path, { prompt: 'a', priority: null });
    expect(backend.seen.map(({ priority }) => priority)).toEqual([2, -7, undefined]);
    for (const priority of [0.5, 'high', 2 ** 40]) {
      const response = await post(gateway, path, { prompt: 'a', priority });
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: { param: 'priority' } });
    }
  });
});
