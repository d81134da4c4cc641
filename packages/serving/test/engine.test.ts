import { samplingPolicy } from '@moestack/model';
import { Scheduler, type SchedulerConfig } from '@moestack/scheduler';
import { describe, expect, it } from 'vitest';
import { Engine } from '../src/embedded/engine.js';
import { EngineMonitor } from '../src/embedded/engine-monitor.js';
import { RankStepEngine } from '../src/embedded/rank-step-engine.js';
import type { TokenSink } from '../src/embedded/running.js';
import { ServingError } from '../src/errors.js';
import { LoopbackChannel } from './loopback-channel.js';
import { nextTokenRuntime } from './next-token-runtime.js';

/** 31 is followed by 0, which ends the text. */
const runtime = nextTokenRuntime(32);

function setUp(options: { maxWaiting?: number; decodeBlocks?: number } = {}) {
  const config: SchedulerConfig = {
    blockSizeTokens: 4,
    maxWaiting: options.maxWaiting ?? 100,
    maxContextTokens: 32,
    stages: [
      { name: 'prefill', role: 'prefill', blocks: 16, tokenBudget: 8, maxSequences: 4 },
      { name: 'decode', role: 'decode', blocks: options.decodeBlocks ?? 64, tokenBudget: 8, maxSequences: 8 },
    ],
  };
  const scheduler = new Scheduler(config);
  const channels = ['prefill', 'decode'].map(
    (name) => new LoopbackChannel(name, runtime, { maxSequences: 8, maxBlocks: 9 }),
  );
  const [prefill, decode] = channels as [LoopbackChannel, LoopbackChannel];
  let timeUs = 0;
  const clock = { nowUs: () => timeUs++, unixSeconds: () => 0 };
  const engine = new Engine(scheduler, new RankStepEngine(channels), {
    config,
    monitor: new EngineMonitor({ clock, scheduler: config, slo: {}, admission: {} }),
  });
  const submit = (prompt: number[], maxNewTokens: number, stopAt = -1) => {
    const tokens: number[] = [];
    let cancel: () => void = () => undefined;
    const ended = new Promise<string>((resolve, reject) => {
      const sink: TokenSink = {
        onToken(token) {
          if (token === stopAt) return true;
          tokens.push(token);
          return false;
        },
        onPromptLogprobs: () => undefined,
        onEnd: resolve,
        onError: reject,
      };
      cancel = engine.submit({
        prompt: Int32Array.from(prompt),
        maxNewTokens,
        setup: {
          capacity: prompt.length + maxNewTokens,
          promptTokens: prompt.length,
          sampling: samplingPolicy({ temperature: 0 }),
          ignoreEos: false,
          logprobs: -1,
          promptLogprobs: -1,
        },
        sink,
      });
    });
    return { tokens, ended, cancel: () => cancel() };
  };
  const blocksUsed = () => engine.metrics().stages?.map((stage) => stage.usedBlocks);
  return { engine, prefill, decode, submit, blocksUsed };
}

describe('Engine', () => {
  it('continues prompts longer than a step to their length', async () => {
    const { submit, engine, blocksUsed } = setUp();
    const one = submit([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 5);
    expect(await one.ended).toBe('length');
    expect(one.tokens).toEqual([11, 12, 13, 14, 15]);
    expect(engine.metrics()).toMatchObject({
      runningRequests: 0,
      handovers: 1,
      decodeBatchSize: { count: 4, sum: 4 },
    });
    expect(blocksUsed()).toEqual([0, 0]);
  });

  it('ends at the end-of-text token and where the sink says so', async () => {
    const { submit } = setUp();
    const atEnd = submit([28], 10);
    const stopped = submit([5], 10, 9);
    expect(await atEnd.ended).toBe('eos');
    expect(atEnd.tokens).toEqual([29, 30, 31]);
    expect(await stopped.ended).toBe('stop');
    expect(stopped.tokens).toEqual([6, 7, 8]);
  });

  it('keeps every text right when blocks run out and requests start again', async () => {
    const { submit, prefill, decode } = setUp({ decodeBlocks: 9 });
    const all = Array.from({ length: 20 }, (_, index) => submit([(index % 8) + 1, (index % 8) + 2], 18));
    await Promise.all(all.map((one) => one.ended));
    all.forEach((one, index) => {
      expect(one.tokens).toEqual(Array.from({ length: 18 }, (_, step) => (index % 8) + 3 + step));
    });
    expect([prefill.live.size, decode.live.size]).toEqual([0, 0]);
  });

  it('refuses what does not fit the queue or the context', async () => {
    const { submit, prefill } = setUp({ maxWaiting: 2 });
    prefill.held = true;
    // One is in the step that is held, two wait.
    const admitted = Array.from({ length: 3 }, () => submit([1], 2));
    await expect(submit([1], 2).ended).rejects.toMatchObject({ code: 'scheduler/queue-full' });
    await expect(submit(Array(30).fill(1), 20).ended).rejects.toMatchObject({ code: 'scheduler/too-long' });
    prefill.release();
    await Promise.all(admitted.map((one) => one.ended));
  });

  it('forgets a cancelled request in every rank, also in the middle of a step', async () => {
    const { submit, prefill, decode, blocksUsed, engine } = setUp();
    decode.held = true;
    const cancelled = submit([1], 20);
    const other = submit([2], 3);
    await expect.poll(() => decode.live.size).toBeGreaterThan(0);
    cancelled.cancel();
    cancelled.cancel();
    decode.release();
    expect(await other.ended).toBe('length');
    expect(cancelled.tokens.length).toBeLessThan(3);
    expect([prefill.live.size, decode.live.size]).toEqual([0, 0]);
    expect(blocksUsed()).toEqual([0, 0]);
    expect(engine.metrics().runningRequests).toBe(0);
  });

  it('fails the requests of a step that failed, and goes on', async () => {
    const { submit, prefill, blocksUsed } = setUp();
    prefill.failNext = new Error('bad arithmetic');
    const failed = submit([1], 3);
    await expect(failed.ended).rejects.toMatchObject({ code: 'serving/engine-failed', status: 500 });
    const next = submit([1], 3);
    expect(await next.ended).toBe('length');
    expect(blocksUsed()).toEqual([0, 0]);
  });

  it('fails everything when a rank is lost, and takes nothing more', async () => {
    const { submit, decode, engine } = setUp();
    decode.held = true;
    const running = [submit([1], 5), submit([2], 5)];
    decode.crash(new ServingError({ code: 'serving/engine-failed', message: 'gone', remedy: 'restart' }));
    for (const one of running)
      await expect(one.ended).rejects.toMatchObject({ code: 'serving/engine-failed' });
    await expect(submit([1], 5).ended).rejects.toMatchObject({ code: 'serving/engine-failed' });
    expect(engine.failure).toBeDefined();
  });
});
