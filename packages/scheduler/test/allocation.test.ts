import { getHeapStatistics } from 'node:v8';
import { describe, expect, it } from 'vitest';
import { Scheduler, type StepPlan } from '../src/index.js';

const SEQUENCES = 64;
const outcomes = { tokens: new Int32Array(SEQUENCES), finished: new Uint8Array(SEQUENCES) };

function busyScheduler(): Scheduler {
  return new Scheduler({
    blockSizeTokens: 16,
    maxWaiting: SEQUENCES,
    maxContextTokens: 512,
    stages: [
      { name: 'prefill', role: 'prefill', blocks: 512, tokenBudget: 256, maxSequences: 16 },
      { name: 'decode', role: 'decode', blocks: 2048, tokenBudget: SEQUENCES, maxSequences: SEQUENCES },
    ],
  });
}

const request = { promptTokens: 100, maxNewTokens: 200, arrivalUs: 0 };

/** Runs `steps` plans of every kind, keeping all seats busy. */
function run(scheduler: Scheduler, steps: number): void {
  for (let step = 0; step < steps; step++) {
    while (scheduler.stats.active < SEQUENCES) scheduler.submit(request);
    const plan = scheduler.schedule(step)!;
    scheduler.complete(plan.stepId, outcomes, step + 1);
  }
}

describe('memory', () => {
  it('hands out the same plan objects and arrays again', () => {
    const scheduler = busyScheduler();
    const seen = new Map<string, StepPlan>();
    for (let step = 0; step < 1000; step++) {
      while (scheduler.stats.active < SEQUENCES) scheduler.submit(request);
      const plan = scheduler.schedule(step)!;
      const key = `${plan.stage} ${plan.kind}`;
      if (!seen.has(key)) seen.set(key, plan);
      expect(plan).toBe(seen.get(key));
      scheduler.complete(plan.stepId, outcomes, step);
    }
    expect([...seen.keys()].sort()).toEqual(['0 compute', '1 compute', '1 transfer']);
  });

  it('allocates nothing per step', () => {
    const scheduler = busyScheduler();
    run(scheduler, 20_000);
    const growth: number[] = [];
    for (let batch = 0; batch < 100; batch++) {
      const before = getHeapStatistics().used_heap_size;
      run(scheduler, 1000);
      growth.push(getHeapStatistics().used_heap_size - before);
    }
    // The median batch saw no garbage collection, so it shows what 1,000 steps of up to 64 sequences allocate,
    // together with the two statistics objects. An array or object of 64 entries a step would be 256,000 bytes or more.
    const median = growth.sort((a, b) => a - b)[50]!;
    expect(median).toBeLessThan(16_000);
  });
});
