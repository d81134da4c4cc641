import { samplingPolicy } from '@moestack/model';
import { Scheduler, type SchedulerConfig, type StepPlan } from '@moestack/scheduler';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CumulativeHistogram } from '../src/embedded/cumulative-histogram.js';
import { Engine } from '../src/embedded/engine.js';
import { EngineMonitor } from '../src/embedded/engine-monitor.js';
import { MeteredSink } from '../src/embedded/metered-sink.js';
import { PrefixIds } from '../src/embedded/prefix-ids.js';
import { RankStepEngine } from '../src/embedded/rank-step-engine.js';
import { SloWindow } from '../src/embedded/slo-window.js';
import { StepTimeline } from '../src/embedded/step-timeline.js';
import { TenantTable } from '../src/embedded/tenant-table.js';
import { LoopbackChannel } from './loopback-channel.js';
import { nextTokenRuntime } from './next-token-runtime.js';

const config: SchedulerConfig = {
  blockSizeTokens: 4,
  maxWaiting: 100,
  maxContextTokens: 32,
  fairness: { maxTenants: 4 },
  stages: [
    { name: 'prefill', role: 'prefill', blocks: 16, tokenBudget: 8, maxSequences: 1, prefixCache: true },
    { name: 'decode', role: 'decode', blocks: 64, tokenBudget: 8, maxSequences: 8 },
  ],
};

/** A clock that is set. */
function stoppedClock() {
  const clock = { us: 0, nowUs: () => clock.us, unixSeconds: () => 0 };
  return clock;
}

describe('CumulativeHistogram', () => {
  it('counts every value below each bound', () => {
    const bounds = [1, 2, 5];
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 8, noNaN: true })), (values) => {
        const histogram = new CumulativeHistogram(bounds);
        for (const value of values) histogram.observe(value);
        const { counts, count } = histogram.snapshot();
        expect(counts).toEqual(bounds.map((bound) => values.filter((value) => value <= bound).length));
        expect(count).toBe(values.length);
      }),
      { seed: 1, numRuns: 100 },
    );
  });
});

describe('SloWindow', () => {
  const outcome = { ttftSeconds: 0.1, tpotSeconds: 0.01, generatedTokens: 10, completed: true };

  it('forgets what is older than its window', () => {
    const window = new SloWindow({ ttftSeconds: 0.2, tpotSeconds: 0.02 }, 10, 0);
    window.end(1_000_000, outcome);
    window.end(2_500_000, { ...outcome, ttftSeconds: 0.3 });
    window.end(2_900_000, { ...outcome, tpotSeconds: undefined });
    window.end(3_000_000, { ...outcome, completed: false });
    const early = window.snapshot(5_000_000);
    expect(early).toMatchObject({
      requests: 4,
      attainment: 0.5,
      ttftAttainment: 0.5,
      tpotAttainment: 0.75,
      goodputRequestsPerSecond: 2 / 5,
      goodputTokensPerSecond: 20 / 5,
    });
    expect(window.snapshot(11_000_000)).toMatchObject({ requests: 3, attainment: 1 / 3 });
    expect(window.snapshot(60_000_000)).toMatchObject({
      requests: 0,
      attainment: 1,
      goodputRequestsPerSecond: 0,
    });
    window.tokens(61_000_000, 30, 50);
    const late = window.snapshot(61_500_000);
    expect([late.generatedTokensPerSecond, late.promptTokensPerSecond]).toEqual([3, 5]);
  });
});

describe('StepTimeline', () => {
  it('keeps the last steps in order, with the parts of split ones', () => {
    const timeline = new StepTimeline(3);
    const plan = (stepId: number): StepPlan => ({
      stepId,
      stage: 0,
      kind: 'compute',
      sequences: 3,
      requestIds: Int32Array.of(1, 2, 3),
      tokenCounts: Int32Array.of(4, 5, 6),
      contextStarts: new Int32Array(3),
      samples: new Uint8Array(3),
      ranks: new Int32Array(3),
      sourceRanks: new Int32Array(0),
      blockTables: new Int32Array(0),
      blockTableStride: 0,
      sourceBlockTables: new Int32Array(0),
      sourceStage: -1,
      blockCounts: new Int32Array(3),
      decodeSequences: 0,
      prefillTokens: 15,
      fusedSteps: 1,
      microBatches: stepId % 2 === 0 ? 2 : 1,
      microBatchOf: Uint8Array.of(0, 1, 0),
    });
    for (let step = 0; step < 5; step++)
      timeline.add(plan(step), 'prefill', { startUs: step, endUs: step + 1, phases: undefined });
    const records = timeline.snapshot();
    expect(records.map(({ phases }) => phases)).toEqual([[], [], []]);
    const gate = { phase: 'experts', layer: 1, microBatch: 0 } as const;
    // Counted from the end of the step, on another thread's clock: never outside the step.
    const phases = [
      { ...gate, startUs: -40, endUs: -10.4 },
      { ...gate, startUs: -400, endUs: 3 },
    ];
    timeline.add(plan(5), 'prefill', { startUs: 100, endUs: 200, phases });
    expect(timeline.snapshot().at(-1)!.phases).toEqual([
      { ...gate, startUs: 160, endUs: 190 },
      { ...gate, startUs: 100, endUs: 200 },
    ]);
    expect(records.map(({ stepId }) => stepId)).toEqual([2, 3, 4]);
    expect(records.map(({ microBatches }) => microBatches)).toEqual([
      [
        { sequences: 2, tokens: 10 },
        { sequences: 1, tokens: 5 },
      ],
      [{ sequences: 3, tokens: 15 }],
      [
        { sequences: 2, tokens: 10 },
        { sequences: 1, tokens: 5 },
      ],
    ]);
  });
});

describe('PrefixIds', () => {
  it('gives equal prefixes equal numbers and no others', () => {
    const prompts = fc.array(fc.integer({ min: 0, max: 2 }), { minLength: 0, maxLength: 12 });
    fc.assert(
      fc.property(fc.array(prompts, { minLength: 2, maxLength: 12 }), (all) => {
        const ids = new PrefixIds(2, 1000);
        const byId = new Map<number, string>();
        const byText = new Map<string, number>();
        for (const prompt of all) {
          const found = ids.idsOf(Int32Array.from(prompt));
          expect(found.length).toBe(Math.floor(prompt.length / 2));
          found.forEach((id, block) => {
            const text = prompt.slice(0, (block + 1) * 2).join();
            expect(byId.get(id) ?? text).toBe(text);
            expect(byText.get(text) ?? id).toBe(id);
            byId.set(id, text);
            byText.set(text, id);
          });
        }
      }),
      { seed: 2, numRuns: 100 },
    );
  });

  it('remembers so many and no more, and reads views with an offset', () => {
    const ids = new PrefixIds(1, 3);
    const first = ids.idsOf(Int32Array.of(1));
    expect(ids.idsOf(Int32Array.of(9, 1).subarray(1))).toEqual(first);
    ids.idsOf(Int32Array.of(5, 6, 7));
    expect(ids.size).toBe(3);
    expect(ids.idsOf(Int32Array.of(1))).not.toEqual(first);
  });

  it('keeps the prompts of different owners apart', () => {
    const ids = new PrefixIds(1, 10);
    const prompt = Int32Array.of(1, 2);
    const own = ids.idsOf(prompt, 'a');
    expect(ids.idsOf(prompt, 'a')).toEqual(own);
    expect(ids.idsOf(prompt, 'b')).not.toEqual(own);
    expect(ids.idsOf(prompt)).not.toEqual(own);
  });
});

describe('TenantTable', () => {
  it('numbers tenants, tells their weights once, and lets those beyond the last number share it', () => {
    const weights: [number, number][] = [];
    const table = new TenantTable(4, (tenant, weight) => weights.push([tenant, weight]));
    expect(table.numberOf(undefined)).toBe(0);
    expect(table.numberOf({ id: 'a', weight: 2 })).toBe(1);
    expect(table.numberOf({ id: 'a', weight: 2 })).toBe(1);
    expect(table.numberOf({ id: 'b' })).toBe(2);
    expect(['c', 'd'].map((id) => table.numberOf({ id }))).toEqual([3, 3]);
    expect(weights).toEqual([
      [1, 2],
      [2, 1],
    ]);
  });
});

describe('EngineMonitor', () => {
  it('asks a step of each stage for its phases four times a second, while its figures are read', () => {
    let nowUs = 5;
    const clock = { nowUs: () => nowUs, unixSeconds: () => 0 };
    const monitor = new EngineMonitor({ clock, scheduler: config, slo: {}, admission: {} });
    const asked = (stage: number, atUs: number) => monitor.wantsPhases(stage, atUs);
    expect(asked(0, 5)).toBe(false);
    monitor.figures();
    expect([asked(0, 10), asked(1, 10), asked(0, 20), asked(0, 249_999)]).toEqual([true, true, false, false]);
    expect([asked(0, 250_010), asked(0, 250_020)]).toEqual([true, false]);
    expect(asked(0, 3_100_000)).toBe(false);
    nowUs = 3_100_000;
    monitor.figures();
    expect(asked(0, 3_100_000)).toBe(true);
  });
});

describe('Engine with a monitor', () => {
  const runtime = nextTokenRuntime(32);

  function setUp() {
    const clock = stoppedClock();
    const monitor = new EngineMonitor({ clock, scheduler: config, slo: { ttftSeconds: 1 }, admission: {} });
    const channels = ['prefill', 'decode'].map(
      (name) => new LoopbackChannel(name, runtime, { maxSequences: 8, maxBlocks: 9 }),
    );
    const engine = new Engine(new Scheduler(config), new RankStepEngine(channels), { config, monitor });
    const order: string[] = [];
    const submit = (
      name: string,
      prompt: number[],
      options: { tenant?: { id: string; weight?: number }; priority?: number } = {},
    ) =>
      new Promise<void>((resolve, reject) => {
        const sink = {
          onToken: () => false,
          onPromptLogprobs: () => undefined,
          onEnd: () => {
            order.push(name);
            resolve();
          },
          onError: reject,
        };
        engine.submit({
          prompt: Int32Array.from(prompt),
          maxNewTokens: 1,
          setup: {
            capacity: prompt.length + 1,
            promptTokens: prompt.length,
            sampling: samplingPolicy({ temperature: 0 }),
            ignoreEos: false,
            logprobs: -1,
            promptLogprobs: -1,
          },
          sink: new MeteredSink(sink, monitor, {
            promptTokens: prompt.length,
            maxNewTokens: 1,
            decision: undefined,
          }),
          ...options,
        });
      });
    return { engine, monitor, submit, order, clock, prefill: channels[0]! };
  }

  it('serves tenants in turn and urgent requests first', async () => {
    const { submit, order, prefill } = setUp();
    prefill.held = true;
    const [a, b] = [{ id: 'a' }, { id: 'b' }];
    const all = [
      submit('a1', [1, 2, 3], { tenant: a }),
      submit('a2', [2, 2, 3], { tenant: a }),
      submit('a3', [3, 2, 3], { tenant: a }),
      submit('b1', [4, 2, 3], { tenant: b }),
      submit('b2', [5, 2, 3], { tenant: b }),
      submit('now', [6, 2, 3], { tenant: a, priority: 1 }),
    ];
    await expect.poll(() => prefill.live.size).toBe(1);
    prefill.release();
    await Promise.all(all);
    // `now` costs its tenant, so b comes twice before a comes again.
    expect(order).toEqual(['a1', 'now', 'b1', 'b2', 'a2', 'a3']);
  });

  it('reports what it knows: cached tokens, stages, steps', async () => {
    const { submit, engine, monitor, clock } = setUp();
    const prompt = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    await submit('first', prompt);
    clock.us = 2_000_000;
    expect(engine.cachedTokensOf(Int32Array.from(prompt))).toBe(8);
    await submit('second', prompt);
    const figures = monitor.figures();
    expect(figures).toMatchObject({
      promptTokens: 18,
      cachedTokens: 8,
      finished: 2,
      generatedTokens: 2,
      slo: { requests: 2, attainment: 1 },
    });
    expect(figures.timeline.map(({ stage, prefillTokens }) => [stage, prefillTokens])).toEqual([
      ['prefill', 8],
      ['prefill', 1],
      ['prefill', 1],
    ]);
    expect(engine.inspect()).toMatchObject({
      waiting: 0,
      running: 0,
      stages: [
        { stage: 'prefill', role: 'prefill', ranks: 1, blocksUsed: 0, blocksCached: 2, blocksTotal: 16 },
        { stage: 'decode', role: 'decode', blocksUsed: 0, blocksCached: 0 },
      ],
    });
  });
});
