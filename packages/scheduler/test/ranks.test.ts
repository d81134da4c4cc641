import { describe, expect, it } from 'vitest';
import { Scheduler, type SchedulerConfig, type StageConfig, type StepPlan } from '../src/index.js';

const stage: StageConfig = {
  name: 'all',
  role: 'mixed',
  ranks: 2,
  blocks: 4,
  tokenBudget: 64,
  maxSequences: 8,
};

function setUp(...stages: StageConfig[]): Scheduler {
  const config: SchedulerConfig = { blockSizeTokens: 4, maxWaiting: 10, maxContextTokens: 64, stages };
  return new Scheduler(config);
}

function submit(scheduler: Scheduler, promptTokens: number, maxNewTokens: number, prefix?: Float64Array) {
  return scheduler.submit({ promptTokens, maxNewTokens, arrivalUs: 0, ...(prefix && { prefix }) });
}

/** Rank of each request of a plan. */
function ranksOf(plan: StepPlan | undefined): Record<number, number> {
  const entries = Array.from({ length: plan!.sequences }, (_, row) => [
    plan!.requestIds[row],
    plan!.ranks[row],
  ]);
  return Object.fromEntries(entries) as Record<number, number>;
}

function complete(scheduler: Scheduler, plan: StepPlan): void {
  const { sequences, stepId } = plan;
  scheduler.complete(stepId, { tokens: new Int32Array(sequences), finished: new Uint8Array(sequences) }, 0);
}

function step(scheduler: Scheduler): Record<number, number> {
  const plan = scheduler.schedule(0)!;
  const ranks = ranksOf(plan);
  complete(scheduler, plan);
  return ranks;
}

describe('a stage of several ranks', () => {
  it('counts the blocks of all of them', () => {
    const [stats] = setUp(stage).stats.stages;
    expect(stats).toMatchObject({ totalBlocks: 8, freeBlocks: 8 });
  });

  it('refuses what no rank could hold, although all together could', () => {
    const scheduler = setUp(stage);
    expect(() => submit(scheduler, 13, 4)).toThrow(
      expect.objectContaining({ code: 'scheduler/too-long', message: expect.stringContaining('at most 16') }),
    );
    expect(() => submit(scheduler, 12, 4)).not.toThrow();
  });

  it('gives a newcomer to the rank with the fewest sequences, and lets it wait where none has room', () => {
    const scheduler = setUp(stage);
    const [a, b] = [submit(scheduler, 12, 4), submit(scheduler, 12, 4)];
    expect(step(scheduler)).toEqual({ [a]: 0, [b]: 1 });
    // Two blocks are free, one on each rank.
    const [c, d] = [submit(scheduler, 8, 4), submit(scheduler, 4, 1)];
    expect(step(scheduler)).toEqual({ [a]: 0, [b]: 1 });
    expect(scheduler.stateOf(c)).toBe('waiting');
    scheduler.cancel(b);
    expect(step(scheduler)).toEqual({ [a]: 0, [c]: 1, [d]: 1 });
  });

  it('takes blocks from sequences of the same rank only, and places these anew', () => {
    const scheduler = setUp(stage);
    const [a, b, c, d] = [8, 8, 8, 3].map((tokens) => submit(scheduler, tokens, 8)) as [
      number,
      number,
      number,
      number,
    ];
    expect(step(scheduler)).toEqual({ [a]: 0, [b]: 1, [c]: 0, [d]: 1 });
    // The first lacks a block; the youngest of all is on the other rank.
    expect(step(scheduler)).toEqual({ [a]: 0, [b]: 1, [d]: 1 });
    expect([a, b, c, d].map((id) => scheduler.preemptionsOf(id))).toEqual([0, 0, 1, 0]);
    scheduler.cancel(b);
    expect(step(scheduler)[c]).toBeUndefined();
    scheduler.cancel(d);
    expect(step(scheduler)).toEqual({ [a]: 0, [c]: 1 });
  });

  it('keeps newcomers off a rank that lacks blocks, not off the others', () => {
    const scheduler = setUp({ ...stage, maxStepsInFlight: 2 });
    const [a, b] = [submit(scheduler, 15, 1), submit(scheduler, 8, 8)];
    const first = scheduler.schedule(0)!;
    expect(ranksOf(first)).toEqual({ [a]: 0, [b]: 1 });
    const c = submit(scheduler, 8, 4);
    const second = scheduler.schedule(0)!;
    expect(ranksOf(second)).toEqual({ [c]: 1 });
    complete(scheduler, first);
    // The second sequence waits for blocks that the third, in a step, may give back.
    const d = submit(scheduler, 8, 4);
    expect(step(scheduler)).toEqual({ [d]: 0 });
    complete(scheduler, second);
    expect(scheduler.preemptionsOf(b)).toBe(0);
  });

  it('gives the blocks of a cancelled request back to its rank when its step completes', () => {
    const scheduler = setUp(stage);
    const [a, b] = [submit(scheduler, 12, 4), submit(scheduler, 12, 4)];
    const plan = scheduler.schedule(0)!;
    scheduler.cancel(b);
    const c = submit(scheduler, 12, 4);
    complete(scheduler, plan);
    expect(scheduler.stats.stages[0]!.freeBlocks).toBe(5);
    expect(step(scheduler)).toEqual({ [a]: 0, [c]: 1 });
  });

  it('prefers the rank that has a prefix cached, until it has many more sequences', () => {
    const scheduler = setUp({ ...stage, blocks: 16, prefixCache: true, maxSequences: 16 });
    const prefix = Float64Array.of(1, 2);
    const [other, first] = [submit(scheduler, 4, 1), submit(scheduler, 8, 1, prefix)];
    expect(step(scheduler)).toEqual({ [other]: 0, [first]: 1 });
    expect(scheduler.cachedTokensFor(prefix)).toBe(8);
    const ids = Array.from({ length: 6 }, () => submit(scheduler, 9, 4, prefix));
    const plan = scheduler.schedule(0)!;
    expect(Object.values(ranksOf(plan)).sort()).toEqual([0, 1, 1, 1, 1, 1]);
    expect(ids.map((id) => scheduler.cachedTokensOf(id))).toEqual([8, 8, 8, 8, 8, 0]);
    // Of the rank where it was computed, the blocks are the same.
    const rows = [...plan.ranks.subarray(0, 6).keys()].filter((row) => plan.ranks[row] === 1);
    const shared = rows.map((row) =>
      plan.blockTables
        .slice(row * plan.blockTableStride)
        .subarray(0, 2)
        .join(),
    );
    expect(new Set(shared).size).toBe(1);
  });

  it('hands over between ranks that it names, and waits for a decode rank with room', () => {
    const scheduler = setUp(
      { ...stage, name: 'prefill', role: 'prefill', blocks: 8 },
      { ...stage, name: 'decode', role: 'decode' },
    );
    const [a, b, c] = [9, 9, 8].map((tokens) => submit(scheduler, tokens, 4)) as [number, number, number];
    expect(step(scheduler)).toEqual({ [a]: 0, [b]: 1, [c]: 0 });
    const transfer = scheduler.schedule(0)!;
    expect(transfer.kind).toBe('transfer');
    // Each takes three blocks, so that the third finds one on each rank.
    expect(ranksOf(transfer)).toEqual({ [a]: 0, [b]: 1 });
    expect([...transfer.sourceRanks.subarray(0, 2)]).toEqual([0, 1]);
    complete(scheduler, transfer);
    scheduler.cancel(a);
    const next = scheduler.schedule(0)!;
    expect([next.kind, ranksOf(next)]).toEqual(['compute', { [b]: 1 }]);
    const second = scheduler.schedule(0)!;
    expect([second.kind, ranksOf(second), second.sourceRanks[0]]).toEqual(['transfer', { [c]: 0 }, 0]);
  });

  it('refuses ranks that are no count', () => {
    expect(() => setUp({ ...stage, ranks: 0 })).toThrow(
      expect.objectContaining({ code: 'scheduler/bad-config', message: expect.stringContaining('ranks') }),
    );
  });
});
