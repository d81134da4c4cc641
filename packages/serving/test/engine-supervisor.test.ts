import { samplingPolicy } from '@moestack/model';
import { Scheduler, type SchedulerConfig } from '@moestack/scheduler';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Engine } from '../src/embedded/engine.js';
import { EngineMonitor } from '../src/embedded/engine-monitor.js';
import {
  type EngineInstance,
  type EngineRestart,
  EngineSupervisor,
  type StageRanks,
} from '../src/embedded/engine-supervisor.js';
import { RankStepEngine } from '../src/embedded/rank-step-engine.js';
import type { TokenSink } from '../src/embedded/running.js';
import { ServingError } from '../src/errors.js';
import { LoopbackChannel } from './loopback-channel.js';
import { nextTokenRuntime } from './next-token-runtime.js';

const runtime = nextTokenRuntime(64);

function lost(name: string): ServingError {
  return new ServingError({
    code: 'serving/engine-failed',
    message: `${name} is lost`,
    remedy: 'none',
    status: 500,
  });
}

interface Started {
  readonly ranks: StageRanks;
  readonly channels: readonly LoopbackChannel[];
  readonly instance: EngineInstance;
}

async function setUp(
  options: { retries?: number; restarts?: number; maxWaiting?: number; stepTimeoutSeconds?: number } = {},
) {
  const { retries = 2, restarts = 3, maxWaiting = 100, stepTimeoutSeconds } = options;
  const started: Started[] = [];
  const events: EngineRestart[] = [];
  /** Errors of the next starts, and channels that are to be held from their start. */
  const failures: unknown[] = [];
  let timeUs = 0;
  const clock = { nowUs: () => timeUs++, unixSeconds: () => 0 };
  const supervisor = await EngineSupervisor.start(
    {
      retries,
      restarts,
      maxWaiting,
      clock,
      onRestart: (restart) => events.push(restart),
      start: async (ranks) => {
        await new Promise(setImmediate);
        const failure = failures.shift();
        if (failure !== undefined) throw failure;
        const config: SchedulerConfig = {
          blockSizeTokens: 4,
          maxWaiting,
          maxContextTokens: 32,
          stages: [
            { name: 'prefill', role: 'prefill', blocks: 16, tokenBudget: 8, maxSequences: 4 },
            { name: 'decode', role: 'decode', blocks: 64, tokenBudget: 8, maxSequences: 8 },
          ],
        };
        const scheduler = new Scheduler(config);
        const channels = ['prefill', 'decode'].map(
          (name) => new LoopbackChannel(name, runtime, { maxSequences: 8, maxBlocks: 9 }),
        );
        const steps = new RankStepEngine(channels, { stepTimeoutSeconds });
        const engine = new Engine(scheduler, steps, {
          config,
          monitor: new EngineMonitor({ clock, scheduler: config, slo: {}, admission: {} }),
        });
        const instance: EngineInstance = {
          engine,
          ranks,
          weightBytes: 0,
          balancers: [],
          experts: [],
          lost: () => steps.lost,
          onLost: (listener) => steps.listen(listener),
        };
        started.push({ ranks, channels, instance });
        return instance;
      },
    },
    { prefill: 1, decode: 3 },
  );
  const submit = (first: number, maxNewTokens: number) => {
    const tokens: number[] = [];
    let cancel: () => void = () => undefined;
    const ended = new Promise<string>((resolve, reject) => {
      const sink: TokenSink = {
        onToken: (token) => {
          tokens.push(token);
          return false;
        },
        onPromptLogprobs: () => undefined,
        onEnd: resolve,
        onError: reject,
      };
      cancel = supervisor.submit({
        prompt: Int32Array.of(first),
        maxNewTokens,
        setup: {
          capacity: 1 + maxNewTokens,
          promptTokens: 1,
          sampling: samplingPolicy({ temperature: 0 }),
          ignoreEos: true,
          logprobs: -1,
          promptLogprobs: -1,
        },
        sink,
      });
    });
    ended.catch(() => undefined);
    return { first, maxNewTokens, tokens, ended, cancel: () => cancel() };
  };
  const crash = (stage: 0 | 1) =>
    started.at(-1)!.channels[stage]!.crash(lost(stage === 0 ? 'prefill' : 'decode'));
  /** What the last engine still knows of requests. */
  const leftover = () => ({
    running: supervisor.metrics().runningRequests,
    blocks: supervisor.metrics().stages?.map((stage) => stage.usedBlocks),
    live: started.at(-1)!.channels.map((channel) => channel.live.size),
  });
  return { supervisor, started, events, failures, submit, crash, leftover };
}

const NOTHING = { running: 0, blocks: [0, 0], live: [0, 0] };

function expected(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + 1 + i);
}

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise(setImmediate);
}

describe('EngineSupervisor', () => {
  it('loses and repeats no token, whenever and wherever ranks are lost', async () => {
    const events = fc.array(
      fc.record({
        wait: fc.integer({ min: 0, max: 9 }),
        what: fc.constantFrom('prefill', 'decode', 'submit', 'cancel'),
        first: fc.integer({ min: 1, max: 30 }),
        count: fc.integer({ min: 1, max: 20 }),
      }),
      { minLength: 1, maxLength: 16 },
    );
    await fc.assert(
      fc.asyncProperty(events, async (sequence) => {
        const { supervisor, submit, crash, leftover } = await setUp({ retries: 1000, restarts: 1000 });
        const running = [submit(1, 20), submit(7, 12)];
        const cancelled = new Set<unknown>();
        for (const { wait, what, first, count } of sequence) {
          await turns(wait);
          if (what === 'submit') running.push(submit(first, count));
          else if (what !== 'cancel') crash(what === 'prefill' ? 0 : 1);
          else {
            const one = running[first % running.length]!;
            one.cancel();
            cancelled.add(one);
          }
        }
        for (const one of running) {
          const whole = expected(one.first, one.maxNewTokens);
          if (cancelled.has(one)) {
            expect(one.tokens).toEqual(whole.slice(0, one.tokens.length));
            continue;
          }
          expect(await one.ended).toBe('length');
          expect(one.tokens).toEqual(whole);
        }
        await turns(3);
        expect(leftover()).toEqual(NOTHING);
        await supervisor.close(lost('all'));
      }),
      { seed: 21, numRuns: 60 },
    );
  });

  it('says what it did, and starts the stage with a rank less when it is lost again before any token', async () => {
    const { submit, crash, events, started, supervisor } = await setUp();
    const one = submit(1, 5);
    crash(1);
    await turns(2);
    crash(1);
    expect(await one.ended).toBe('length');
    expect(one.tokens).toEqual(expected(1, 5));
    expect(started.map(({ ranks }) => ranks)).toEqual([
      { prefill: 1, decode: 3 },
      { prefill: 1, decode: 3 },
      { prefill: 1, decode: 2 },
    ]);
    expect(events).toMatchObject([
      { stage: 'decode', ranks: { decode: 3 }, resumed: 1 },
      { stage: 'decode', ranks: { decode: 2 }, resumed: 1 },
    ]);
    expect(supervisor.restarts).toBe(2);
    expect(supervisor.failure).toBeUndefined();
  });

  it('starts with fewer ranks when it cannot start with as many', async () => {
    const { submit, crash, started, failures } = await setUp();
    failures.push(new Error('no memory'));
    const one = submit(1, 5);
    crash(1);
    expect(await one.ended).toBe('length');
    expect(started.at(-1)!.ranks).toEqual({ prefill: 1, decode: 2 });
  });

  it('gives up after the last restart, with a typed error for what waits and what comes', async () => {
    const { submit, crash, failures, events, supervisor } = await setUp();
    failures.push(new Error('no memory'), new Error('no memory'), new Error('still no memory'));
    const one = submit(1, 5);
    crash(0);
    const expectation = {
      code: 'serving/engine-failed',
      message: expect.stringContaining('still no memory'),
    };
    await expect(one.ended).rejects.toMatchObject(expectation);
    expect(events).toMatchObject([{ stage: 'prefill', ranks: undefined, resumed: 0 }]);
    expect(supervisor.failure).toMatchObject(expectation);
    expect(() => submit(1, 5).cancel()).not.toThrow();
    await expect(submit(1, 5).ended).rejects.toMatchObject(expectation);
  });

  it('fails a request that was there each time, and goes on', async () => {
    const { submit, crash, leftover } = await setUp({ retries: 1 });
    const one = submit(1, 20);
    await turns(6);
    crash(1);
    await turns(6);
    crash(1);
    await expect(one.ended).rejects.toMatchObject({
      code: 'serving/engine-failed',
      message: 'decode is lost',
    });
    const next = submit(3, 4);
    expect(await next.ended).toBe('length');
    expect(leftover()).toEqual(NOTHING);
  });

  it('takes a bounded number of requests while it restarts', async () => {
    const { submit, crash, supervisor } = await setUp({ maxWaiting: 2 });
    crash(1);
    expect(supervisor.isRestarting).toBe(true);
    const taken = [submit(1, 2), submit(2, 2)];
    await expect(submit(3, 2).ended).rejects.toMatchObject({ code: 'serving/queue-full', status: 429 });
    for (const one of taken) expect(await one.ended).toBe('length');
  });

  it('resumes more requests than the queue holds', async () => {
    const { submit, crash } = await setUp({ maxWaiting: 4 });
    const all: ReturnType<typeof submit>[] = [];
    for (let i = 0; i < 8; i++) {
      all.push(submit(i + 1, 12));
      await turns(4);
    }
    crash(1);
    for (const one of all) {
      expect(await one.ended).toBe('length');
      expect(one.tokens).toEqual(expected(one.first, 12));
    }
  });

  it('restarts a stage that does not answer', async () => {
    const { submit, started, events } = await setUp({ stepTimeoutSeconds: 0.05 });
    started[0]!.channels[1]!.held = true;
    const one = submit(1, 5);
    expect(await one.ended).toBe('length');
    expect(one.tokens).toEqual(expected(1, 5));
    expect(events).toMatchObject([
      { stage: 'decode', error: { message: expect.stringContaining('did not answer within 0.05 s') } },
    ]);
  });

  it('ends what waits when it is closed during a restart', async () => {
    const { submit, crash, supervisor, started } = await setUp();
    const one = submit(1, 5);
    crash(1);
    const reason = lost('closed');
    await supervisor.close(reason);
    await expect(one.ended).rejects.toBe(reason);
    await expect(submit(1, 5).ended).rejects.toBe(reason);
    await turns(5);
    expect(started.length).toBeLessThanOrEqual(2);
    if (started[1] !== undefined) expect(started[1].instance.engine.failure).toBe(reason);
  });
});
