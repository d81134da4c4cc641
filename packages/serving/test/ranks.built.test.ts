import { Worker } from 'node:worker_threads';
import { initialPlan, type Plan, planFromSlots } from '@moestack/placement';
import {
  createEmbeddedBackend,
  type EmbeddedBackend,
  type EmbeddedOptions,
} from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

const LAYERS = 3;
const EXPERTS = 16;
const subjects = ['people', 'King', 'ship', 'house', 'war', 'law', 'river', 'church', 'child', 'city'];
const prompts = subjects.map((subject) => `In those days the ${subject}`);

function open(options: Partial<EmbeddedOptions> = {}): Promise<EmbeddedBackend> {
  return createEmbeddedBackend({ modelDirectory: tinyMoe, name: 'tiny-moe', ...options });
}

async function complete(
  backend: EmbeddedBackend,
  prompt: string,
  maxTokens = 16,
  signal = new AbortController().signal,
) {
  let text = '';
  const request = {
    requestId: prompt,
    model: 'tiny-moe',
    prompt: { type: 'text', text: prompt } as const,
    maxTokens,
    sampling: { temperature: 0 },
    stop: [],
    logprobs: 2,
  };
  for await (const event of backend.generate(request, { signal }))
    if (event.type === 'delta') text += event.text;
  return text;
}

function all(backend: EmbeddedBackend, maxTokens?: number): Promise<string[]> {
  return Promise.all(prompts.map((prompt) => complete(backend, prompt, maxTokens)));
}

let expected: string[];
beforeAll(async () => {
  const one = await open();
  expected = await all(one);
  expect(await one.experts()).toEqual([]);
  await one.close();
});

describe.each([
  { prefillRanks: 2, decodeRanks: 1 },
  { prefillRanks: 1, decodeRanks: 2 },
  { prefillRanks: 2, decodeRanks: 3, redundantExperts: 2 },
  { decodeRanks: 2, stages: 'mixed' },
  { prefillRanks: 4, prefillTensor: 2, decodeRanks: 2, decodeTensor: 2 },
] as const)('ranks: %j', (options) => {
  it('answer as one rank does, with every sequence on one of them', async () => {
    const backend = await open(options);
    expect(await all(backend)).toEqual(expected);
    const stages = await backend.experts();
    for (const { ranks } of stages) {
      for (const rank of ranks) {
        expect(rank.tokens.length).toBe(LAYERS * EXPERTS);
        expect(rank.tokens.some((count) => count > 0)).toBe(true);
        expect(rank.computedRows).toBeGreaterThan(0);
        expect(rank.receivedBytes).toBeGreaterThan(0);
      }
      const chosen = ranks.reduce((sum, rank) => sum + rank.tokens.reduce((a, b) => a + b, 0), 0);
      expect(ranks.reduce((sum, rank) => sum + rank.computedRows, 0)).toBe(chosen);
    }
    await backend.close();
  });
});

describe.each([
  { stages: 'mixed', decodeRanks: 2 },
  { prefillRanks: 2, decodeRanks: 2 },
  { stages: 'mixed', decodeRanks: 4, decodeTensor: 2 },
] as const)('pools of ranks that run out: %j', (options) => {
  it('share the blocks of the stage, take them from each other and change no word', async () => {
    // Eight blocks for each rank, or pair that shares heads, are one context: three texts at most.
    const backend = await open({ ...options, contextTokens: 64, blockSizeTokens: 8, kvBlocks: 16 });
    const blocks = () =>
      backend.metrics().stages?.map(({ usedBlocks, totalBlocks }) => [usedBlocks, totalBlocks]);
    const free = blocks()!.map(() => [0, 16]);
    expect(blocks()).toEqual(free);
    const controller = new AbortController();
    const left = complete(backend, 'In those days the', 40, controller.signal);
    const running = all(backend);
    controller.abort();
    await expect(left).rejects.toMatchObject({ name: 'AbortedError' });
    expect(await running).toEqual(expected);
    expect(backend.stats().preemptions).toBeGreaterThan(0);
    expect(blocks()).toEqual(free);
    await backend.close();
  });
});

/** Every expert once, the busiest ones together on the first rank. */
function skewed(order: readonly number[]): Plan {
  const deployment = { nodes: 1, gpus: 2, replicas: EXPERTS };
  const slots = Array.from({ length: LAYERS }, () => order).flat();
  return planFromSlots(slots, { layers: LAYERS, experts: EXPERTS, deployment });
}

describe('a running stage of two ranks', () => {
  let backend: EmbeddedBackend;
  beforeAll(async () => {
    const order = Array.from({ length: EXPERTS }, (_, slot) => (slot * 5) % EXPERTS);
    backend = await open({ decodeRanks: 2, placements: { decode: skewed(order) } });
  });
  afterAll(() => backend.close());

  it('moves experts while requests run, without changing a word', async () => {
    expect(await all(backend)).toEqual(expected);
    const [before] = await backend.experts();
    const running = all(backend);
    const [result] = await backend.rebalance();
    expect(await running).toEqual(expected);
    expect(result!.imbalanceAfter).toBeLessThanOrEqual(result!.imbalanceBefore);
    expect(result!.movedExperts).toBeGreaterThan(0);
    expect(result!.layers).toBeGreaterThan(0);
    const [after] = await backend.experts();
    expect(after!.plan).toEqual(result!.plan);
    expect(after!.plan.physicalToLogical).not.toEqual(before!.plan.physicalToLogical);
    const received = after!.ranks.reduce((sum, rank) => sum + rank.receivedExperts, 0);
    expect(received).toBe(result!.movedExperts);
    expect(await all(backend)).toEqual(expected);
  });

  it('goes on when a request is cancelled', async () => {
    const controller = new AbortController();
    const cancelled = complete(backend, prompts[0]!, 60, controller.signal);
    const others = all(backend);
    controller.abort();
    await expect(cancelled).rejects.toMatchObject({ name: 'AbortedError' });
    expect(await others).toEqual(expected);
    expect(backend.metrics().stages?.every((stage) => stage.usedBlocks === 0)).toBe(true);
  });
});

describe('automatic rebalancing', () => {
  it('follows the load by itself', async () => {
    const moved: number[] = [];
    const backend = await open({
      decodeRanks: 2,
      redundantExperts: 2,
      rebalance: { periodSeconds: 0.2, minIntervalSeconds: 0.1, recorder: { bucketSeconds: 0.1 } },
      onRebalance: (result) => moved.push(result.movedExperts),
    });
    for (let i = 0; i < 200 && moved.length < 2; i++) expect(await all(backend)).toEqual(expected);
    expect(moved.length).toBeGreaterThanOrEqual(2);
    expect(moved[0]).toBeGreaterThan(0);
    await backend.close();
  });
});

describe('a rank that is lost for good', () => {
  it('ends what runs with a typed error, at once, and what comes after', async () => {
    const workers: Worker[] = [];
    const post = Worker.prototype.postMessage;
    vi.spyOn(Worker.prototype, 'postMessage').mockImplementation(function (this: Worker, ...values) {
      if (!workers.includes(this)) workers.push(this);
      return post.apply(this, values);
    });
    const backend = await open({ prefillRanks: 2, decodeRanks: 2, restarts: 0 });
    const running = prompts.map((prompt) => complete(backend, prompt, 200));
    const moving = backend.rebalance();
    await workers.at(-1)!.terminate();
    for (const result of await Promise.allSettled([...running, moving])) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'serving/engine-failed' } });
    }
    expect(backend.health().status).toBe('failed');
    await expect(complete(backend, prompts[0]!)).rejects.toMatchObject({ code: 'serving/engine-failed' });
    await expect(backend.experts()).rejects.toMatchObject({ code: 'serving/engine-failed' });
    await backend.close();
    vi.restoreAllMocks();
  });
});

describe('options', () => {
  it.each([
    { options: { prefillRanks: 0 }, code: 'serving/bad-options' },
    { options: { decodeRanks: 1.5 }, code: 'serving/bad-options' },
    { options: { decodeRanks: 65 }, code: 'serving/bad-options' },
    { options: { prefillRanks: 4, prefillTensor: 3 }, code: 'serving/bad-options' },
    { options: { decodeRanks: 8, decodeTensor: 8 }, code: 'serving/bad-options' },
    { options: { decodeTensor: 2 }, code: 'serving/bad-options' },
    { options: { stages: 'mixed', prefillRanks: 2 }, code: 'serving/bad-options' },
    { options: { decodeRanks: 2, rebalance: { periodSeconds: -1 } }, code: 'placement/bad-config' },
    { options: { decodeRanks: 2, redundantExperts: -1 }, code: 'serving/bad-options' },
    {
      options: {
        decodeRanks: 4,
        placements: { decode: initialPlan(LAYERS, EXPERTS, { nodes: 1, gpus: 2, replicas: EXPERTS }) },
      },
      code: 'model/bad-options',
    },
  ] as const)('$options are refused', async ({ options, code }) => {
    await expect(open(options)).rejects.toMatchObject({ code });
  });
});
