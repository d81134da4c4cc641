import { samplingPolicy } from '@moestack/model';
import { Scheduler, type StepPlan } from '@moestack/scheduler';
import { describe, expect, it } from 'vitest';
import { RankStepEngine } from '../src/embedded/rank-step-engine.js';
import type { StageRuntime } from '../src/embedded/stage-runner.js';
import { ServingError } from '../src/errors.js';
import { LoopbackChannel } from './loopback-channel.js';

/** The next token is always 3. */
const runtime: StageRuntime = {
  limits: { vocabulary: 4, maxBatchTokens: 8, maxSequences: 2 },
  forward: (batch) =>
    Float32Array.from({ length: batch.sequences * 4 }, (_, index) => (index % 4 === 3 ? 1 : 0)),
  forwardAll: () => {
    throw new Error('not used here');
  },
};

/** A prefill and a decode rank, and the first plan of a request of 5 tokens. */
function setUp() {
  const scheduler = new Scheduler({
    blockSizeTokens: 4,
    maxWaiting: 4,
    maxContextTokens: 16,
    stages: [
      { name: 'prefill', role: 'prefill', blocks: 8, tokenBudget: 8, maxSequences: 2 },
      { name: 'decode', role: 'decode', blocks: 8, tokenBudget: 2, maxSequences: 2 },
    ],
  });
  const channel = (name: string) => new LoopbackChannel(name, runtime, { maxSequences: 2, maxBlocks: 5 });
  const [prefill, decode] = [channel('prefill'), channel('decode')];
  const ranks = new RankStepEngine([prefill, decode]);
  const id = scheduler.submit({ promptTokens: 5, maxNewTokens: 4, arrivalUs: 0 });
  ranks.tell(0, 0, {
    type: 'tokens',
    id,
    from: 0,
    tokens: Int32Array.of(1, 2, 1, 2, 1),
    setup: {
      capacity: 9,
      promptTokens: 5,
      sampling: samplingPolicy({ temperature: 0 }),
      ignoreEos: false,
      logprobs: 0,
      promptLogprobs: -1,
    },
  });
  const next = (): StepPlan => {
    const plan = scheduler.schedule(0);
    if (plan === undefined) throw new Error('nothing to run');
    return plan;
  };
  return { scheduler, ranks, prefill, decode, id, next };
}

const lost = new ServingError({ code: 'serving/engine-failed', message: 'gone', remedy: 'restart' });

describe('RankStepEngine', () => {
  it('runs what the scheduler plans: a step with log-probabilities, then a transfer', async () => {
    const { scheduler, ranks, id, next } = setUp();
    const step = next();
    const outcomes = await ranks.run(step);
    expect(outcomes).toMatchObject({ tokens: Int32Array.of(3), finished: Uint8Array.of(0), movedBytes: 0 });
    expect(outcomes.logprobs).toMatchObject([{ id, position: 5 }]);
    scheduler.complete(step.stepId, outcomes, 1);
    const transfer = next();
    expect(transfer.kind).toBe('transfer');
    const moved = await ranks.run(transfer);
    expect(moved.movedBytes).toBe(16);
    expect([ranks.handovers, ranks.handoverBytes]).toEqual([1, 16]);
    scheduler.complete(transfer.stepId, moved, 2);
    expect(scheduler.stateOf(id)).toBe('decode');
  });

  it('keeps outcomes apart from the steps that follow', async () => {
    const { ranks, next } = setUp();
    const plan = next();
    const first = await ranks.run(plan);
    const second = ranks.run(plan);
    expect(first.tokens).toEqual(Int32Array.of(3));
    await second;
  });

  it('rejects a step that failed and runs the next one', async () => {
    const { ranks, prefill, next } = setUp();
    const plan = next();
    prefill.failNext = new Error('bad arithmetic');
    await expect(ranks.run(plan)).rejects.toMatchObject({
      code: 'serving/engine-failed',
      message: 'the engine failed: bad arithmetic',
    });
    expect((await ranks.run(plan)).tokens).toEqual(Int32Array.of(3));
  });

  it('rejects all runs when a rank is lost, after it said so, and ignores late answers', async () => {
    const { ranks, prefill, decode, next } = setUp();
    const told: unknown[] = [];
    ranks.listen((error) => told.push(error));
    const plan = next();
    prefill.held = true;
    const running = ranks.run(plan);
    decode.crash(lost);
    expect(told).toEqual([lost]);
    await expect(running).rejects.toBe(lost);
    prefill.release();
    await expect(ranks.run(plan)).rejects.toBe(lost);
    await ranks.close(new Error('closed'));
    expect(told).toEqual([lost]);
  });

  it('posts nothing once aborted', async () => {
    const { ranks, prefill, next } = setUp();
    const plan = next();
    prefill.failNext = new Error('must not run');
    await expect(ranks.run(plan, AbortSignal.abort())).rejects.toMatchObject({ code: 'aborted' });
    expect(prefill.failNext).toBeDefined();
  });
});
