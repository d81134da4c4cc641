import { Worker } from 'node:worker_threads';
import {
  createEmbeddedBackend,
  type EmbeddedBackend,
  type EmbeddedOptions,
  type EngineRestart,
} from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

const prompts = ['people', 'King', 'ship', 'house', 'war', 'law'].map(
  (subject) => `In those days the ${subject}`,
);

/** Threads that were sent a message and have not ended. */
const live = new Set<Worker>();
/** Threads of ranks, in the order in which they got their first message. */
let ranks: Worker[] = [];
/** Called before each message to a rank; true drops it. */
let intercept: (worker: Worker, type: string) => boolean = () => false;

beforeEach(() => {
  ranks = [];
  intercept = () => false;
  const post = Worker.prototype.postMessage;
  vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(function (this: Worker, ...values) {
    const { type } = values[0] as { type?: string };
    if (!live.has(this)) {
      live.add(this);
      this.once('exit', () => live.delete(this));
    }
    if (type === 'link' || type === 'buffer') {
      if (!ranks.includes(this)) ranks.push(this);
    }
    if (!intercept(this, String(type))) post.apply(this, values);
  });
});
afterEach(() => vi.restoreAllMocks());

function open(options: Partial<EmbeddedOptions> = {}): Promise<EmbeddedBackend> {
  // What is computed anew is the same to the last bit in one form of attention only.
  return createEmbeddedBackend({
    modelDirectory: tinyMoe,
    name: 'tiny-moe',
    contextTokens: 128,
    attention: 'absorbed',
    ...options,
  });
}

async function complete(backend: EmbeddedBackend, prompt: string, temperature = 0, onText = () => {}) {
  const request = {
    requestId: prompt,
    model: 'tiny-moe',
    prompt: { type: 'text', text: prompt } as const,
    maxTokens: 40,
    sampling: { temperature },
    seed: 5,
    stop: [],
    ignoreEos: true,
  };
  let text = '';
  let usage: unknown;
  for await (const event of backend.generate(request, { signal: new AbortController().signal })) {
    if (event.type === 'delta') {
      text += event.text;
      onText();
    }
    if (event.type === 'finish') usage = event.usage.completionTokens;
  }
  expect(usage).toBe(40);
  return text;
}

/** The texts of six requests, three of which are greedy and three sampled. */
function all(backend: EmbeddedBackend, onText?: () => void): Promise<string[]> {
  return Promise.all(prompts.map((prompt, i) => complete(backend, prompt, i % 2 === 0 ? 0 : 0.8, onText)));
}

/** Ends a rank's thread once so many pieces of text have come. */
function killAfter(pieces: number, which: number): () => void {
  let left = pieces;
  return () => {
    if (left-- === 0) void ranks[which % ranks.length]!.terminate();
  };
}

function usedBlocks(backend: EmbeddedBackend): number[] | undefined {
  return backend.metrics().stages?.map((stage) => stage.usedBlocks);
}

/** By form of attention, since the forms differ in the last bits; without any fault. */
const expectedOf = new Map<EmbeddedOptions['attention'], string[]>();
let expected: string[];
beforeAll(async () => {
  for (const attention of ['absorbed', 'naive'] as const) {
    const backend = await open({ attention });
    expectedOf.set(attention, await all(backend));
    await backend.close();
  }
  expected = expectedOf.get('absorbed')!;
});

/** Several prefill ranks add up the results of experts rank by rank, which a draw can show: greedy texts only. */
const isGreedy = (_: string, index: number) => index % 2 === 0;

describe.each([
  { name: 'a rank for each stage', options: {}, isSame: () => true },
  { name: 'one rank', options: { stages: 'mixed', attention: 'naive' }, isSame: () => true },
  { name: 'several ranks that decode', options: { decodeRanks: 2 }, isSame: () => true },
  { name: 'stages of several ranks', options: { prefillRanks: 2, decodeRanks: 2 }, isSame: isGreedy },
] as const)('$name', ({ options, isSame }) => {
  it('replaces threads that end while requests run, without losing or repeating a word', async () => {
    const restarts: EngineRestart[] = [];
    const { attention = 'absorbed' }: Partial<EmbeddedOptions> = options;
    const undisturbed = expectedOf.get(attention)!;
    const same = (texts: readonly string[]) => texts.filter(isSame);
    const backend = await open({
      ...options,
      retries: 10,
      restarts: 10,
      onRestart: (restart) => restarts.push(restart),
    });
    for (const [round, pieces] of [0, 3, 17, 60].entries()) {
      ranks = ranks.filter((worker) => live.has(worker));
      expect(same(await all(backend, killAfter(pieces, round * 7 + 1)))).toEqual(same(undisturbed));
    }
    expect(backend.health().status).toBe('ok');
    expect(backend.restarts).toBeGreaterThanOrEqual(3);
    expect(restarts.length).toBe(backend.restarts);
    expect(restarts[0]).toMatchObject({ error: { code: 'serving/engine-failed' } });
    expect(same(await all(backend))).toEqual(same(undisturbed));
    expect(usedBlocks(backend)?.every((used) => used === 0)).toBe(true);
    // As many threads as serve, no lost one among them.
    const serving = Object.values(restarts.at(-1)!.ranks!).reduce((sum, count) => sum + count, 0);
    expect(live.size).toBe(serving);
    await backend.close();
    expect(live.size).toBe(0);
  });
});

describe('a rank that', () => {
  it('ends while nothing runs is replaced at once', async () => {
    const replaced = new Promise<EngineRestart>((resolve) => {
      void open({ onRestart: resolve }).then(async (backend) => {
        await all(backend);
        await ranks[0]!.terminate();
        await replaced;
        expect(await all(backend)).toEqual(expected);
        await backend.close();
      });
    });
    expect(await replaced).toMatchObject({ resumed: 0, stage: expect.any(String) });
  });

  it('hangs in a step is replaced after the timeout', async () => {
    const restarts: EngineRestart[] = [];
    const backend = await open({ stepTimeoutSeconds: 2, onRestart: (restart) => restarts.push(restart) });
    let steps = 0;
    let hung: Worker | undefined;
    intercept = (worker, type) => {
      if (type === 'step' && ++steps === 12) hung = worker;
      return worker === hung;
    };
    expect(await all(backend)).toEqual(expected);
    expect(restarts).toMatchObject([
      { error: { message: expect.stringContaining('did not answer within 2 s') } },
    ]);
    await backend.close();
  });

  it('ends again and again is left out', async () => {
    const restarts: EngineRestart[] = [];
    const backend = await open({ decodeRanks: 3, onRestart: (restart) => restarts.push(restart) });
    // The third decode rank of every group dies with its first step; the encoder and the prefill rank get no step together with it.
    const steps = new Map<number, Set<Worker>>();
    intercept = (worker, type) => {
      if (type !== 'step') return false;
      const group = steps.get(restarts.length) ?? new Set();
      steps.set(restarts.length, group.add(worker));
      if (group.size === 4) void worker.terminate();
      return false;
    };
    const running = all(backend);
    expect(await running).toEqual(expected);
    expect(restarts.at(-1)).toMatchObject({ stage: 'decode', ranks: { prefill: 1, decode: 2 } });
    const [decode] = await backend.experts();
    expect(decode!.ranks).toHaveLength(2);
    await backend.close();
  });

  it('is lost in every attempt fails its requests with a typed error, and the engine goes on', async () => {
    const backend = await open({ retries: 0 });
    let steps = 0;
    let killed: Worker | undefined;
    intercept = (worker, type) => {
      if (killed === undefined && type === 'step' && ++steps === 8) {
        killed = worker;
        void worker.terminate();
      }
      return worker === killed;
    };
    const results = await Promise.allSettled(prompts.map((prompt) => complete(backend, prompt)));
    for (const result of results) {
      expect(result).toMatchObject({
        status: 'rejected',
        reason: { code: 'serving/engine-failed', status: 500 },
      });
    }
    expect(await all(backend)).toEqual(expected);
    await backend.close();
  });
});

it.each([
  { retries: -1 },
  { restarts: 0.5 },
  { stepTimeoutSeconds: 0 },
  { stepTimeoutSeconds: Number.POSITIVE_INFINITY },
])('refuses %j', async (options) => {
  await expect(open(options)).rejects.toMatchObject({ code: 'serving/bad-options' });
});
