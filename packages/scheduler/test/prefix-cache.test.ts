import { describe, expect, it } from 'vitest';
import { Scheduler, type StepPlan } from '../src/index.js';

function setUp(blocks = 16): Scheduler {
  return new Scheduler({
    blockSizeTokens: 4,
    maxWaiting: 10,
    maxContextTokens: 64,
    stages: [
      { name: 'prefill', role: 'prefill', blocks, tokenBudget: 16, maxSequences: 4, prefixCache: true },
      { name: 'decode', role: 'decode', blocks: 16, tokenBudget: 4, maxSequences: 4 },
    ],
  });
}

const ids = (length: number, first = 0) => Float64Array.from({ length }, (_, block) => first + block);

/** Runs whatever is planned until nothing is, and returns the compute plans of the prefill stage. */
function drain(scheduler: Scheduler): { start: number; tokens: number; table: number[] }[] {
  const seen: { start: number; tokens: number; table: number[] }[] = [];
  for (let plan = scheduler.schedule(0); plan !== undefined; plan = scheduler.schedule(0)) {
    if (plan.stage === 0) {
      seen.push({
        start: plan.contextStarts[0]!,
        tokens: plan.tokenCounts[0]!,
        table: [...plan.blockTables.subarray(0, plan.blockCounts[0]!)],
      });
    }
    const { sequences } = plan;
    scheduler.complete(
      plan.stepId,
      { tokens: new Int32Array(sequences), finished: new Uint8Array(sequences) },
      0,
    );
  }
  return seen;
}

describe('the prefix cache', () => {
  it('computes a known prompt from its last token on, and shares the blocks', () => {
    const scheduler = setUp();
    const request = { promptTokens: 12, maxNewTokens: 2, arrivalUs: 0, prefix: ids(3) };
    scheduler.submit(request);
    expect(drain(scheduler)).toEqual([{ start: 0, tokens: 12, table: [0, 1, 2] }]);
    expect(scheduler.cachedTokensFor(ids(3))).toBe(12);
    const again = scheduler.submit(request);
    const plan = scheduler.schedule(0)!;
    // A whole block is computed again, since the last token must be.
    expect([plan.contextStarts[0], plan.tokenCounts[0], plan.prefillTokens]).toEqual([8, 4, 4]);
    expect([...plan.blockTables.subarray(0, 2)]).toEqual([0, 1]);
    expect(scheduler.cachedTokensOf(again)).toBe(8);
    scheduler.complete(plan.stepId, { tokens: Int32Array.of(1), finished: Uint8Array.of(1) }, 0);
    expect(scheduler.stats).toMatchObject({ lookedUpTokens: 24, cachedTokens: 8 });
    expect(scheduler.stats.stages[0]).toMatchObject({ freeBlocks: 16, cachedBlocks: 3 });
  });

  it('gives up what was used least recently, ends before beginnings, when blocks run out', () => {
    const scheduler = setUp();
    const submit = (first: number, blocks: number) => {
      scheduler.submit({
        promptTokens: blocks * 4,
        maxNewTokens: 1,
        arrivalUs: 0,
        prefix: ids(blocks, first),
      });
      drain(scheduler);
    };
    submit(100, 6);
    submit(200, 6);
    submit(300, 8);
    expect([100, 200, 300].map((first) => scheduler.cachedTokensFor(ids(6, first)))).toEqual([8, 24, 24]);
    expect(scheduler.stats.stages[0]!.evictedBlocks).toBe(4);
  });

  it('forgets what is said to be lost', () => {
    const scheduler = setUp();
    const request = { promptTokens: 12, maxNewTokens: 2, arrivalUs: 0, prefix: ids(3) };
    scheduler.submit(request);
    drain(scheduler);
    scheduler.clearPrefixCache(0);
    expect(scheduler.cachedTokensFor(ids(3))).toBe(0);
    expect(scheduler.stats.stages[0]).toMatchObject({ freeBlocks: 16, cachedBlocks: 0 });
    scheduler.submit(request);
    const plan = scheduler.schedule(0)!;
    expect(plan.contextStarts[0]).toBe(0);
    scheduler.fail(plan.stepId, 0);
    expect(scheduler.cachedTokensFor(ids(3))).toBe(0);
    drain(scheduler);
    expect(scheduler.stats.stages[0]).toMatchObject({ freeBlocks: 16, cachedBlocks: 3 });
  });

  it('leaves prompts without names alone, and refuses names that are none', () => {
    const scheduler = setUp();
    const request = { promptTokens: 12, maxNewTokens: 2, arrivalUs: 0 };
    scheduler.submit(request);
    drain(scheduler);
    expect(scheduler.stats).toMatchObject({ lookedUpTokens: 0 });
    expect(scheduler.stats.stages[0]!.cachedBlocks).toBe(0);
    for (const prefix of [ids(4), Float64Array.of(-1), Float64Array.of(0.5), Float64Array.of(2 ** 53)]) {
      expect(() => scheduler.submit({ ...request, prefix })).toThrow(
        expect.objectContaining({ code: 'scheduler/bad-request' }),
      );
    }
  });
});

describe('stage limits', () => {
  it('cuts prompts into chunks and bounds the queue between the stages', () => {
    const scheduler = new Scheduler({
      blockSizeTokens: 4,
      maxWaiting: 10,
      maxContextTokens: 64,
      stages: [
        {
          name: 'prefill',
          role: 'prefill',
          blocks: 32,
          tokenBudget: 16,
          maxSequences: 8,
          maxChunkTokens: 6,
          maxHandover: 2,
        },
        { name: 'decode', role: 'decode', blocks: 16, tokenBudget: 4, maxSequences: 1 },
      ],
    });
    for (let i = 0; i < 6; i++) scheduler.submit({ promptTokens: 10, maxNewTokens: 30, arrivalUs: 0 });
    const plan = scheduler.schedule(0)!;
    expect([plan.sequences, ...plan.tokenCounts.subarray(0, 2)]).toEqual([2, 6, 6]);
    scheduler.complete(plan.stepId, { tokens: new Int32Array(2), finished: new Uint8Array(2) }, 0);
    for (let step = 0; step < 20; step++) {
      const plans: StepPlan[] = [];
      for (let next = scheduler.schedule(0); next !== undefined; next = scheduler.schedule(0))
        plans.push(next);
      for (const { stepId, sequences } of plans) {
        scheduler.complete(
          stepId,
          { tokens: new Int32Array(sequences), finished: new Uint8Array(sequences) },
          0,
        );
      }
      const [prefill] = scheduler.stats.stages;
      expect(prefill!.running).toBeLessThanOrEqual(3);
      expect(prefill!.handoverWaiting).toBeLessThanOrEqual(2);
    }
    expect(scheduler.stats.stages[0]!.handoverWaiting).toBe(2);
  });

  it.each([
    { stages: [{ name: 'a', role: 'mixed' as const, maxHandover: 1 }] },
    { stages: [{ name: 'a', role: 'mixed' as const, maxChunkTokens: 0 }] },
    { stages: [{ name: 'a', role: 'mixed' as const, microBatches: { minTokens: 0 } }] },
    { stages: [{ name: 'a', role: 'mixed' as const, microBatches: { minTokens: 1, contextCost: -1 } }] },
    {
      stages: [
        { name: 'a', role: 'prefill' as const },
        { name: 'b', role: 'decode' as const, prefixCache: true },
      ],
    },
    { stages: [{ name: 'a', role: 'mixed' as const }], fairness: { maxTenants: 0 } },
    { stages: [{ name: 'a', role: 'mixed' as const }], fairness: { maxTenants: 1, decodeCost: -1 } },
  ])('refuses %j', ({ stages, ...rest }) => {
    const sizes = { blocks: 8, tokenBudget: 8, maxSequences: 2 };
    expect(
      () =>
        new Scheduler({
          blockSizeTokens: 4,
          maxWaiting: 1,
          maxContextTokens: 8,
          ...rest,
          stages: stages.map((stage) => ({ ...sizes, ...stage })),
        }),
    ).toThrow(expect.objectContaining({ code: 'scheduler/bad-config' }));
  });
});
