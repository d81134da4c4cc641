import { describe, expect, it } from 'vitest';
import { Scheduler, type SchedulerConfig, SchedulerError, type StageConfig, type StepPlan } from './index.js';

const mixed: StageConfig = { name: 'all', role: 'mixed', blocks: 16, tokenBudget: 16, maxSequences: 4 };
const prefill: StageConfig = { ...mixed, name: 'prefill', role: 'prefill' };
const decode: StageConfig = { ...mixed, name: 'decode', role: 'decode' };
const base: SchedulerConfig = {
  blockSizeTokens: 4,
  maxWaiting: 4,
  maxContextTokens: 64,
  stages: [mixed],
};
const pair: SchedulerConfig = { ...base, stages: [prefill, decode] };

function codeOf(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (SchedulerError.isInstance(error)) return error.code;
    throw error;
  }
  throw new Error('expected a SchedulerError');
}

function submit(scheduler: Scheduler, promptTokens: number, maxNewTokens: number, priority = 0): number {
  return scheduler.submit({ promptTokens, maxNewTokens, arrivalUs: 0, priority });
}

function ids(plan: StepPlan | undefined): number[] {
  return plan === undefined ? [] : [...plan.requestIds.subarray(0, plan.sequences)];
}

function complete(scheduler: Scheduler, plan: StepPlan | undefined, failedRow = -1): void {
  const failed = new Uint8Array(plan!.sequences);
  if (failedRow >= 0) failed[failedRow] = 1;
  const outcomes = {
    tokens: new Int32Array(plan!.sequences),
    finished: new Uint8Array(plan!.sequences),
    failed,
  };
  scheduler.complete(plan!.stepId, outcomes, 0);
}

/** Plans and completes one step. */
function step(scheduler: Scheduler): number[] {
  const plan = scheduler.schedule(0);
  const planned = ids(plan);
  if (plan !== undefined) complete(scheduler, plan);
  return planned;
}

describe('configuration and requests', () => {
  it.each<[string, Partial<SchedulerConfig>]>([
    ['no stage', { stages: [] }],
    ['two mixed stages', { stages: [mixed, mixed] }],
    ['prefill without decode', { stages: [prefill] }],
    ['mixed beside decode', { stages: [mixed, decode] }],
    ['no blocks', { stages: [{ ...mixed, blocks: 0 }] }],
    ['a fractional budget', { stages: [{ ...mixed, tokenBudget: 1.5 }] }],
    ['no sequences', { stages: [{ ...mixed, maxSequences: 0 }] }],
    ['no steps in flight', { stages: [{ ...mixed, maxStepsInFlight: 0 }] }],
    ['a block size of 0', { blockSizeTokens: 0 }],
    ['a queue of NaN', { maxWaiting: Number.NaN }],
    ['a context of 1', { maxContextTokens: 1 }],
  ])('refuses %s', (_name, change) => {
    expect(codeOf(() => new Scheduler({ ...base, ...change }))).toBe('scheduler/bad-config');
  });

  it('refuses requests that are no requests, or can never run', () => {
    const scheduler = new Scheduler({ ...base, maxContextTokens: 100 });
    expect(codeOf(() => submit(scheduler, 0, 1))).toBe('scheduler/bad-request');
    expect(codeOf(() => submit(scheduler, 1, 0))).toBe('scheduler/bad-request');
    expect(codeOf(() => submit(scheduler, 1.5, 1))).toBe('scheduler/bad-request');
    expect(codeOf(() => submit(scheduler, 1, 1, Number.NaN))).toBe('scheduler/bad-request');
    expect(codeOf(() => submit(scheduler, 100, 1))).toBe('scheduler/too-long');
    expect(codeOf(() => submit(scheduler, 64, 1))).toBe('scheduler/too-long');
    expect(scheduler.stats.submitted).toBe(0);
    submit(scheduler, 63, 1);
  });

  it('refuses a request when the queue is full, and takes it later', () => {
    const scheduler = new Scheduler(base);
    for (let i = 0; i < 4; i++) submit(scheduler, 4, 2);
    expect(codeOf(() => submit(scheduler, 4, 2))).toBe('scheduler/queue-full');
    step(scheduler);
    expect(scheduler.stats.waiting).toBe(0);
    submit(scheduler, 4, 2);
  });
});

describe('a mixed stage', () => {
  it('splits a prompt over steps and decodes others beside it', () => {
    const scheduler = new Scheduler(base);
    const short = submit(scheduler, 6, 8);
    const long = submit(scheduler, 20, 2);
    const first = scheduler.schedule(0)!;
    expect([...first.tokenCounts.subarray(0, 2)]).toEqual([6, 10]);
    expect([...first.samples.subarray(0, 2)]).toEqual([1, 0]);
    expect([first.decodeSequences, first.prefillTokens]).toEqual([0, 16]);
    complete(scheduler, first);
    const second = scheduler.schedule(0)!;
    expect(ids(second)).toEqual([short, long]);
    expect([...second.tokenCounts.subarray(0, 2)]).toEqual([1, 10]);
    expect([...second.contextStarts.subarray(0, 2)]).toEqual([6, 10]);
    expect([...second.samples.subarray(0, 2)]).toEqual([1, 1]);
    expect([second.decodeSequences, second.prefillTokens]).toEqual([1, 10]);
    expect([...second.blockCounts.subarray(0, 2)]).toEqual([2, 5]);
    complete(scheduler, second);
    expect([scheduler.stateOf(short), scheduler.stateOf(long)]).toEqual(['decode', 'decode']);
    step(scheduler);
    expect(scheduler.stateOf(long)).toBe('gone');
    expect(scheduler.stats.finished).toBe(1);
  });

  it('ends at EOS', () => {
    const scheduler = new Scheduler(base);
    const id = submit(scheduler, 4, 10);
    const plan = scheduler.schedule(0)!;
    scheduler.complete(plan.stepId, { tokens: Int32Array.of(7), finished: Uint8Array.of(1) }, 0);
    expect(scheduler.stateOf(id)).toBe('gone');
    expect(scheduler.stats.stages[0]!.freeBlocks).toBe(16);
  });

  it('preempts the youngest sequence and computes it again over prompt and output', () => {
    const scheduler = new Scheduler({ ...base, stages: [{ ...mixed, blocks: 4 }] });
    const old = submit(scheduler, 7, 9);
    const young = submit(scheduler, 7, 5);
    expect(step(scheduler)).toEqual([old, young]);
    expect(step(scheduler)).toEqual([old, young]);
    expect(step(scheduler)).toEqual([old]);
    expect([scheduler.stateOf(young), scheduler.preemptionsOf(young)]).toEqual(['waiting', 1]);
    while (scheduler.stateOf(old) !== 'gone') expect(step(scheduler)).toEqual([old]);
    const plan = scheduler.schedule(0)!;
    expect([plan.requestIds[0], plan.tokenCounts[0], plan.contextStarts[0]]).toEqual([young, 9, 0]);
    complete(scheduler, plan);
    expect(scheduler.generatedTokensOf(young)).toBe(3);
  });

  it('admits by priority, then in order of submission', () => {
    const scheduler = new Scheduler({ ...base, stages: [{ ...mixed, tokenBudget: 4 }] });
    const [a, b, c] = [submit(scheduler, 4, 1), submit(scheduler, 4, 1, 5), submit(scheduler, 4, 1, 5)];
    expect([step(scheduler), step(scheduler), step(scheduler)]).toEqual([[b], [c], [a]]);
  });

  it('plans further steps beside one in flight, never with the same sequence', () => {
    const scheduler = new Scheduler({
      ...base,
      stages: [{ ...mixed, tokenBudget: 4, maxStepsInFlight: 2 }],
    });
    const [a, b] = [submit(scheduler, 6, 1), submit(scheduler, 6, 1)];
    const [first, second] = [scheduler.schedule(0), scheduler.schedule(0)];
    expect([ids(first), ids(second), scheduler.schedule(0)]).toEqual([[a], [b], undefined]);
    complete(scheduler, second);
    expect(step(scheduler)).toEqual([b]);
    complete(scheduler, first);
    expect(step(scheduler)).toEqual([a]);
  });
});

describe('cancel and finish', () => {
  it('frees blocks at once when no step uses them', () => {
    const scheduler = new Scheduler(base);
    const id = submit(scheduler, 8, 4);
    step(scheduler);
    expect(scheduler.stats.stages[0]!.freeBlocks).toBe(14);
    expect(scheduler.cancel(id)).toBe(true);
    expect(scheduler.stats.stages[0]!.freeBlocks).toBe(16);
    expect(scheduler.cancel(id)).toBe(false);
    expect([scheduler.stats.cancelled, scheduler.stats.active]).toEqual([1, 0]);
  });

  it('frees blocks with the step in flight that uses them', () => {
    const scheduler = new Scheduler(base);
    const id = submit(scheduler, 8, 4);
    const plan = scheduler.schedule(0);
    expect(scheduler.finish(id)).toBe(true);
    expect(scheduler.finish(id)).toBe(false);
    expect([scheduler.stateOf(id), scheduler.stats.stages[0]!.freeBlocks]).toEqual(['gone', 14]);
    complete(scheduler, plan);
    expect([scheduler.stats.stages[0]!.freeBlocks, scheduler.stats.active]).toEqual([16, 0]);
    expect([scheduler.stats.finished, scheduler.stats.generatedTokens]).toEqual([1, 0]);
  });

  it('drops a request that still waits', () => {
    const scheduler = new Scheduler(base);
    const id = submit(scheduler, 8, 4);
    scheduler.cancel(id);
    expect(scheduler.schedule(0)).toBeUndefined();
    expect([scheduler.cancel(-1), scheduler.cancel(0.5), scheduler.cancel(1e9)]).toEqual([
      false,
      false,
      false,
    ]);
  });
});

describe('prefill and decode stages', () => {
  it('hands a prefilled request over and frees the source when the transfer completes', () => {
    const scheduler = new Scheduler(pair);
    const id = submit(scheduler, 8, 3);
    const first = scheduler.schedule(0)!;
    expect([first.stage, first.kind]).toEqual([0, 'compute']);
    complete(scheduler, first);
    const transfer = scheduler.schedule(0)!;
    expect([transfer.kind, transfer.stage, transfer.sourceStage]).toEqual(['transfer', 1, 0]);
    expect([transfer.contextStarts[0], transfer.blockCounts[0], transfer.tokenCounts[0]]).toEqual([8, 2, 0]);
    const { stages } = scheduler.stats;
    // Two blocks at the source; at the target a third for the next token.
    expect(stages.map((stage) => stage.freeBlocks)).toEqual([14, 13]);
    expect(scheduler.stateOf(id)).toBe('transfer');
    complete(scheduler, transfer);
    expect(stages.map((stage) => stage.freeBlocks)).toEqual([16, 13]);
    const next = scheduler.schedule(0)!;
    expect([next.stage, next.contextStarts[0], next.tokenCounts[0]]).toEqual([1, 8, 1]);
    complete(scheduler, next);
    step(scheduler);
    expect(stages.map((stage) => stage.freeBlocks)).toEqual([16, 16]);
    expect([scheduler.stats.transfers, scheduler.stats.transferredBlocks]).toEqual([1, 2]);
  });

  it('needs no transfer for a request of one token', () => {
    const scheduler = new Scheduler(pair);
    const id = submit(scheduler, 8, 1);
    expect(step(scheduler)).toEqual([id]);
    expect([scheduler.stateOf(id), scheduler.schedule(0)]).toEqual(['gone', undefined]);
  });

  it('decodes while a prefill step is in flight', () => {
    const scheduler = new Scheduler(pair);
    const first = submit(scheduler, 8, 9);
    step(scheduler);
    step(scheduler);
    const second = submit(scheduler, 8, 9);
    const plans = [scheduler.schedule(0)!, scheduler.schedule(0)!];
    expect(plans.map((plan) => [plan.stage, ...ids(plan)])).toEqual([
      [1, first],
      [0, second],
    ]);
    complete(scheduler, plans[0]);
    expect(step(scheduler)).toEqual([first]);
    expect(step(scheduler)).toEqual([first]);
  });

  it('prefills a request again that was preempted while decoding', () => {
    const scheduler = new Scheduler({ ...pair, stages: [prefill, { ...decode, blocks: 4 }] });
    const [old, young] = [submit(scheduler, 7, 9), submit(scheduler, 7, 5)];
    while (scheduler.stats.preemptions === 0) step(scheduler);
    expect([scheduler.stateOf(old), scheduler.stateOf(young)]).toEqual(['decode', 'waiting']);
    const generated = scheduler.generatedTokensOf(young);
    const decoding = scheduler.schedule(0);
    const plan = scheduler.schedule(0)!;
    expect([plan.stage, plan.requestIds[0], plan.tokenCounts[0]]).toEqual([0, young, 7 + generated]);
    complete(scheduler, plan);
    complete(scheduler, decoding);
    for (let i = 0; scheduler.stats.active > 0; i++) {
      expect(i).toBeLessThan(50);
      step(scheduler);
    }
    expect(scheduler.stats.generatedTokens).toBe(14);
  });

  it('moves nobody in during a step that ran out of blocks', () => {
    const scheduler = new Scheduler({ ...pair, stages: [prefill, { ...decode, blocks: 4 }] });
    submit(scheduler, 7, 9);
    submit(scheduler, 7, 5);
    const third = submit(scheduler, 2, 5);
    let plan = scheduler.schedule(0);
    while (scheduler.stats.preemptions === 0) {
      complete(scheduler, plan);
      plan = scheduler.schedule(0);
    }
    expect([scheduler.stateOf(third), scheduler.stats.stages[1]!.freeBlocks]).toEqual(['transfer', 1]);
    expect([plan!.stage, scheduler.schedule(0)!.stage, scheduler.schedule(0)]).toEqual([1, 0, undefined]);
    complete(scheduler, plan);
    const plans = [scheduler.schedule(0)!, scheduler.schedule(0)!];
    expect(plans.map(({ kind, stage }) => [kind, stage])).toEqual([
      ['compute', 1],
      ['transfer', 1],
    ]);
    expect(ids(plans[1])).toEqual([third]);
  });

  it('cancels a request in transfer when the transfer completes', () => {
    const scheduler = new Scheduler(pair);
    const id = submit(scheduler, 8, 3);
    step(scheduler);
    const transfer = scheduler.schedule(0);
    scheduler.cancel(id);
    complete(scheduler, transfer);
    expect(scheduler.stats.stages.map((stage) => stage.freeBlocks)).toEqual([16, 16]);
    expect(scheduler.schedule(0)).toBeUndefined();
  });
});

describe('lost steps', () => {
  it('puts the requests of a lost step back, in order, without losing tokens', () => {
    const scheduler = new Scheduler(base);
    const [a, b, c] = [submit(scheduler, 4, 5), submit(scheduler, 4, 5), submit(scheduler, 4, 5)];
    step(scheduler);
    const plan = scheduler.schedule(0)!;
    scheduler.cancel(b);
    scheduler.fail(plan.stepId, 0);
    expect(scheduler.stats.stages[0]!.freeBlocks).toBe(16);
    expect([scheduler.stats.requeued, scheduler.generatedTokensOf(a)]).toEqual([2, 1]);
    const again = scheduler.schedule(0)!;
    expect(ids(again)).toEqual([a, c]);
    expect([...again.tokenCounts.subarray(0, 2)]).toEqual([5, 5]);
  });

  it('puts one lost sequence back and keeps the others', () => {
    const scheduler = new Scheduler(base);
    const [a, b] = [submit(scheduler, 4, 5), submit(scheduler, 4, 5)];
    complete(scheduler, scheduler.schedule(0), 0);
    expect([scheduler.generatedTokensOf(a), scheduler.generatedTokensOf(b)]).toEqual([0, 1]);
    expect([scheduler.stateOf(a), scheduler.stateOf(b)]).toEqual(['waiting', 'decode']);
  });

  it('prefills again after a lost transfer', () => {
    const scheduler = new Scheduler(pair);
    const id = submit(scheduler, 8, 3);
    step(scheduler);
    scheduler.fail(scheduler.schedule(0)!.stepId, 0);
    expect(scheduler.stats.stages.map((stage) => stage.freeBlocks)).toEqual([16, 16]);
    const plan = scheduler.schedule(0)!;
    expect([plan.stage, plan.requestIds[0], plan.tokenCounts[0]]).toEqual([0, id, 9]);
  });

  it('refuses reports that fit no step, and changes nothing', () => {
    const scheduler = new Scheduler(base);
    submit(scheduler, 4, 5);
    const plan = scheduler.schedule(0)!;
    const good = { tokens: Int32Array.of(1), finished: Uint8Array.of(0) };
    const report = (change: object) =>
      codeOf(() => scheduler.complete(plan.stepId, { ...good, ...change }, 0));
    expect(report({ tokens: new Int32Array(0) })).toBe('scheduler/bad-outcomes');
    expect(report({ finished: new Uint8Array(0) })).toBe('scheduler/bad-outcomes');
    expect(report({ failed: new Uint8Array(0) })).toBe('scheduler/bad-outcomes');
    expect(report({ tokens: Int32Array.of(-1) })).toBe('scheduler/bad-outcomes');
    expect(codeOf(() => scheduler.complete(99, good, 0))).toBe('scheduler/unknown-step');
    expect(codeOf(() => scheduler.fail(-1, 0))).toBe('scheduler/unknown-step');
    scheduler.complete(plan.stepId, good, 0);
    expect(scheduler.stats.generatedTokens).toBe(1);
    expect(codeOf(() => scheduler.complete(plan.stepId, good, 0))).toBe('scheduler/unknown-step');
  });
});

describe('statistics', () => {
  it('adds up waiting time, busy time and peaks', () => {
    const scheduler = new Scheduler(base);
    scheduler.submit({ promptTokens: 8, maxNewTokens: 1, arrivalUs: 100 });
    const plan = scheduler.schedule(150)!;
    scheduler.complete(plan.stepId, { tokens: Int32Array.of(1), finished: Uint8Array.of(0) }, 400);
    const { stats } = scheduler;
    expect([stats.admitted, stats.queuedUs, stats.prefillTokens, stats.decodeTokens]).toEqual([1, 50, 8, 0]);
    const [stage] = stats.stages;
    expect([stage!.busyUs, stage!.steps, stage!.peakUsedBlocks, stage!.peakRunning]).toEqual([250, 1, 2, 1]);
  });
});
