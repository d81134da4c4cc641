import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Scheduler, type SchedulerConfig, type StepPlan } from '../src/index.js';
import { type Arrival, VirtualCluster } from './virtual-cluster.js';

const arrivals: fc.Arbitrary<Arrival[]> = fc
  .array(
    fc.record({
      gapUs: fc.integer({ min: 0, max: 20_000 }),
      promptTokens: fc.integer({ min: 1, max: 60 }),
      maxNewTokens: fc.integer({ min: 1, max: 60 }),
      family: fc.integer({ min: -1, max: 2 }),
      tenant: fc.integer({ min: 0, max: 2 }),
      priority: fc.integer({ min: 0, max: 1 }),
    }),
    { minLength: 1, maxLength: 12 },
  )
  .map((items) => {
    let arrivalUs = 0;
    return items.map(({ gapUs, ...lengths }) => ({ arrivalUs: (arrivalUs += gapUs), ...lengths }));
  });

const limits = {
  tokenBudget: fc.integer({ min: 4, max: 64 }),
  maxSequences: fc.integer({ min: 1, max: 6 }),
  ranks: fc.constantFrom(1, 1, 2, 3),
};
const configs: fc.Arbitrary<SchedulerConfig> = fc
  .record({
    pair: fc.boolean(),
    blockSizeTokens: fc.integer({ min: 1, max: 8 }),
    spareBlocks: fc.integer({ min: 0, max: 40 }),
    prefixCache: fc.boolean(),
    isFair: fc.boolean(),
    first: fc.record(limits),
    second: fc.record(limits),
  })
  .map(({ pair, blockSizeTokens, spareBlocks, prefixCache, isFair, first, second }) => {
    const blocks = Math.ceil(120 / blockSizeTokens) + spareBlocks;
    const fairness = isFair && { fairness: { maxTenants: 3 } };
    const base = { blockSizeTokens, maxWaiting: 16, maxContextTokens: 120, ...fairness };
    return pair
      ? {
          ...base,
          stages: [
            { name: 'prefill', role: 'prefill', blocks, prefixCache, ...first },
            { name: 'decode', role: 'decode', blocks, ...second },
          ],
        }
      : { ...base, stages: [{ name: 'all', role: 'mixed', blocks, prefixCache, ...first }] };
  });

function tableOf(plan: StepPlan, row: number): number[] {
  const from = row * plan.blockTableStride;
  return [...plan.blockTables.subarray(from, from + plan.blockCounts[row]!)];
}

describe('steadySteps', () => {
  it('makes fused runs equal to single-stepped ones', () => {
    let singlePlans = 0;
    let fusedPlans = 0;
    let preemptions = 0;
    let cached = 0;
    fc.assert(
      fc.property(configs, arrivals, (config, requests) => {
        const single = new VirtualCluster(config, requests, false);
        const fused = new VirtualCluster(config, requests, true);
        single.run();
        fused.run();
        expect(fused.times).toEqual(single.times);
        expect(fused.times.every(({ endUs }) => endUs >= 0)).toBe(true);
        const counters = ({ scheduler: { stats } }: VirtualCluster): unknown[] => [
          stats.preemptions,
          stats.generatedTokens,
          stats.prefillTokens,
          stats.cachedTokens,
          stats.decodeTokens,
          stats.transferredBlocks,
          stats.queuedUs,
          stats.stages.map((stage) => [stage.steps, stage.busyUs, stage.freeBlocks, stage.peakUsedBlocks]),
        ];
        expect(counters(fused)).toEqual(counters(single));
        singlePlans += single.plans;
        fusedPlans += fused.plans;
        preemptions += single.scheduler.stats.preemptions;
        cached += single.scheduler.stats.cachedTokens;
      }),
      { seed: 20_250_103, numRuns: 1000 },
    );
    expect(fusedPlans).toBeLessThan(singlePlans / 3);
    expect(preemptions).toBeGreaterThan(500);
    expect(cached).toBeGreaterThan(500);
  });

  function decoding(promptTokens: number, maxNewTokens: number, blocks: number): Scheduler {
    const scheduler = new Scheduler({
      blockSizeTokens: 4,
      maxWaiting: 4,
      maxContextTokens: 4096,
      stages: [{ name: 'all', role: 'mixed', blocks, tokenBudget: 64, maxSequences: 2 }],
    });
    scheduler.submit({ promptTokens, maxNewTokens, arrivalUs: 0 });
    const plan = scheduler.schedule(0)!;
    scheduler.complete(plan.stepId, { tokens: new Int32Array(1), finished: new Uint8Array(1) }, 0);
    return scheduler;
  }

  it('counts to the length of the shortest request', () => {
    expect(decoding(5, 10, 100).steadySteps()).toBe(9);
  });

  it('counts to the last step that has blocks for all', () => {
    const scheduler = decoding(5, 40, 12);
    const second = scheduler.submit({ promptTokens: 5, maxNewTokens: 40, arrivalUs: 0 });
    expect(scheduler.steadySteps()).toBe(0);
    const plan = scheduler.schedule(0)!;
    expect(plan.requestIds[1]).toBe(second);
    scheduler.complete(plan.stepId, { tokens: new Int32Array(2), finished: new Uint8Array(2) }, 0);
    // Computed 6 and 5 tokens; 12 blocks of 4 hold 24 of each.
    expect(scheduler.steadySteps()).toBe(18);
    const fused = scheduler.schedule(0)!;
    expect([scheduler.steadySteps(), fused.fusedSteps]).toEqual([18, 1]);
    for (const steps of [0, 19, 1.5]) {
      expect(() => scheduler.fuse(fused.stepId, steps)).toThrow(
        expect.objectContaining({ code: 'scheduler/not-steady' }),
      );
    }
    scheduler.fuse(fused.stepId, 18);
    expect([fused.fusedSteps, fused.decodeSequences, ...fused.blockCounts]).toEqual([18, 2, 6, 6]);
    expect(new Set([0, 1].flatMap((row) => tableOf(fused, row))).size).toBe(12);
    expect(() => scheduler.fuse(fused.stepId, 1)).toThrow();
    scheduler.complete(fused.stepId, { tokens: new Int32Array(2), finished: new Uint8Array(2) }, 0);
    expect(scheduler.generatedTokensOf(second)).toBe(19);
    expect(scheduler.schedule(0)!.sequences).toBe(1);
    expect(scheduler.stats.preemptions).toBe(1);
  });

  it('is 0 with nothing to do, with a prompt to prefill, or with a request to admit', () => {
    const scheduler = decoding(5, 3, 100);
    const waiting = scheduler.submit({ promptTokens: 5, maxNewTokens: 3, arrivalUs: 0 });
    expect(scheduler.steadySteps()).toBe(0);
    scheduler.cancel(waiting);
    expect(scheduler.steadySteps()).toBe(2);
    const plan = scheduler.schedule(0)!;
    scheduler.complete(plan.stepId, { tokens: new Int32Array(1), finished: Uint8Array.of(1) }, 0);
    expect(scheduler.steadySteps()).toBe(0);
  });

  it('refuses to fuse a step that prefills, and a step whose sequence is leaving', () => {
    const scheduler = decoding(5, 9, 100);
    const decode = scheduler.schedule(0)!;
    scheduler.cancel(decode.requestIds[0]!);
    expect(scheduler.steadySteps()).toBe(0);
    scheduler.complete(decode.stepId, { tokens: new Int32Array(1), finished: new Uint8Array(1) }, 0);
    scheduler.submit({ promptTokens: 5, maxNewTokens: 40, arrivalUs: 0 });
    const prefill = scheduler.schedule(0)!;
    expect(scheduler.steadySteps()).toBe(0);
    expect(() => scheduler.fuse(prefill.stepId, 1)).toThrow(
      expect.objectContaining({ code: 'scheduler/not-steady', value: 1 }),
    );
  });
});
