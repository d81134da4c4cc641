import { describe, expect, it } from 'vitest';
import { LiveStats, type LiveStatsOptions } from '../../src/dashboard/live-stats.js';
import { expertsEvent, StepFeed, stepSpans } from '../../src/dashboard/views.js';
import type { GatewayEvent, RequestOutcome } from '../../src/observer.js';
import { sampleStats } from './sample-engine.js';

function setUp(options: Partial<LiveStatsOptions> = {}) {
  const clock = {
    seconds: 100,
    nowUs: () => clock.seconds * 1e6,
    unixSeconds: () => 1_700_000_000 + clock.seconds,
  };
  const live = new LiveStats({ clock, slo: { ttftSeconds: 0.2, tpotSeconds: 0.02 }, ...options });
  let count = 0;
  const request = (
    options: {
      ttftMs?: number;
      tpotMs?: number;
      tokens?: number;
      outcome?: RequestOutcome;
      status?: number;
      backend?: string;
      worker?: string;
    } = {},
  ) => {
    const {
      ttftMs = 50,
      tpotMs = 10,
      tokens = 11,
      outcome = 'ok',
      status = 200,
      backend = 'b',
      worker,
    } = options;
    const requestId = `r${count++}`;
    const endUs = clock.nowUs();
    const firstUs = endUs - tpotMs * 1000 * (tokens - 1);
    const atUs = firstUs - ttftMs * 1000;
    const events: GatewayEvent[] = [
      { type: 'received', requestId, atUs, route: '/v1/completions', model: 'm', stream: true, bodyBytes: 1 },
      ...(worker === undefined
        ? []
        : [{ type: 'routed', requestId, atUs, backend, worker, role: 'whole', attempt: 0 } as const]),
      { type: 'first-byte', requestId, atUs: firstUs },
      { type: 'usage', requestId, atUs: endUs, promptTokens: 20, completionTokens: tokens, cachedTokens: 5 },
      { type: 'finished', requestId, atUs: endUs, status, outcome },
    ];
    for (const event of events) live.observe(event);
  };
  return { clock, live, request };
}

describe('LiveStats', () => {
  it('takes percentiles and attainment over a window', () => {
    const { clock, live, request } = setUp();
    for (let i = 1; i <= 9; i++) request({ ttftMs: i * 10 });
    request({ ttftMs: 500 });
    const { sample } = live.tick([]);
    expect(sample).toMatchObject({
      ttftP50: 50,
      ttftP90: 90,
      tpotP90: 10,
      attained: 0.9,
      finished: 10,
      failed: 0,
    });
    clock.seconds += 31;
    expect(live.tick([]).sample).toMatchObject({ ttftP50: null, tpotP50: null, attained: null, finished: 0 });
  });

  it('counts failures and full queues against the targets, not clients that leave or err', () => {
    const { live, request } = setUp();
    request();
    request({ outcome: 'failed', status: 500 });
    request({ outcome: 'refused', status: 429 });
    request({ outcome: 'refused', status: 400 });
    request({ outcome: 'aborted', status: 499 });
    const { sample, totals } = live.tick([]);
    expect(sample.attained).toBeCloseTo(1 / 3, 3);
    expect(sample.failed).toBe(1);
    expect(totals).toMatchObject({ requests: 5, refused: 2, failed: 1, preemptions: null });
  });

  it('has no attainment without targets', () => {
    const { live, request } = setUp({ slo: {} });
    request();
    expect(live.tick([]).sample.attained).toBeNull();
  });

  it("takes rates from engines' counters, and from ended requests where engines are elsewhere", () => {
    const { clock, live } = setUp();
    const report = (generated: number) => [
      { model: 'm', stats: { ...sampleStats(100), generatedTokens: generated } },
    ];
    expect(live.tick(report(1000)).sample.generatedTokens).toBe(0);
    clock.seconds += 2;
    expect(live.tick(report(1500)).sample.generatedTokens).toBe(250);
    clock.seconds += 1;
    expect(live.tick(report(10)).sample.generatedTokens).toBe(0);
    const remote = setUp();
    for (let i = 0; i < 10; i++) remote.request({ tokens: 20 });
    expect(remote.live.tick([]).sample.generatedTokens).toBe(20);
  });

  it('adds what pools do to what engines of this process tell', () => {
    const { clock, live, request } = setUp({ localBackends: ['here'] });
    const report = (generated: number) => [
      { model: 'm', stats: { running: 3, waiting: 0, generatedTokens: generated } },
    ];
    live.tick(report(1000));
    clock.seconds += 1;
    // That of this process is in the engine's count.
    for (const backend of ['here', 'there']) request({ backend, worker: 'w', tokens: 20 });
    const open = { requestId: 'open', atUs: clock.nowUs() };
    live.observe({
      ...open,
      type: 'received',
      route: '/v1/completions',
      model: 'm',
      stream: true,
      bodyBytes: 1,
    });
    live.observe({ ...open, type: 'routed', backend: 'there', worker: 'w', role: 'whole', attempt: 0 });
    const { sample } = live.tick(report(1020));
    expect(sample).toMatchObject({ generatedTokens: 22, running: 4 });
  });

  it('follows the servers of a pool', () => {
    const { live, request } = setUp();
    request({ worker: 'a' });
    request({ worker: 'b', outcome: 'failed', status: 502 });
    live.observe({ type: 'breaker', atUs: 1, backend: 'p', worker: 'b', from: 'closed', to: 'open' });
    live.observe({ type: 'health', atUs: 1, backend: 'p', worker: 'a', healthy: false });
    expect(live.tick([]).targets).toEqual([
      { name: 'a', state: 'unhealthy', inFlight: 0, requests: 1, failures: 0 },
      { name: 'b', state: 'open', inFlight: 0, requests: 1, failures: 1 },
    ]);
  });

  it('tells the stages of several engines apart', () => {
    const { live } = setUp();
    const stages = [{ stage: 'mixed', blocksUsed: 1, blocksTotal: 4 }];
    const one = { model: 'a', stats: { stages } };
    expect(live.tick([one]).stages).toEqual([{ stage: 'mixed', usedBlocks: 1, totalBlocks: 4 }]);
    const names = live.tick([one, { ...one, model: 'b' }]).stages.map(({ stage }) => stage);
    expect(names).toEqual(['a mixed', 'b mixed']);
  });

  it('stays bounded', () => {
    const { clock, live, request } = setUp();
    for (let i = 0; i < 400; i++) {
      for (let j = 0; j < 20; j++) request({ worker: `w${i}` });
      clock.seconds += 1;
      live.tick([]);
    }
    expect(live.samples).toHaveLength(300);
    const event = live.tick([]);
    expect(event.targets).toHaveLength(64);
    expect(event.recent).toHaveLength(12);
  });
});

describe('views', () => {
  const clock = { nowUs: () => 100e6, unixSeconds: () => 1_700_000_100 };

  it('shows experts by stage, and the newest migration', () => {
    const stats = sampleStats(100, { layers: 3, experts: 8 });
    const event = expertsEvent([{ model: 'm', stats }], clock);
    expect(event.stages.map(({ stage, layers, experts, ranks }) => [stage, layers, experts, ranks])).toEqual([
      ['prefill', 3, 8, 4],
      ['decode', 3, 8, 4],
    ]);
    expect(event.stages[0]!.slots).toHaveLength(3 * 4 * 3);
    expect(event.stages[0]!.layerNames).toEqual([1, 2, 3]);
    expect(event.migration).toMatchObject({ atSeconds: 1_700_000_005, movedExperts: 23 });
    const alone = stats.experts.map((experts) => ({ ...experts, ranks: 1 }));
    expect(
      expertsEvent([{ model: 'm', stats: { ...stats, experts: alone } }], clock).stages[0]!.slots,
    ).toEqual([]);
    expect(expertsEvent([{ model: 'm', stats: { ...stats, experts: [] } }], clock)).toEqual({
      stages: [],
      migration: null,
    });
  });

  it('hands each step on once', () => {
    const feed = new StepFeed();
    const at = (seconds: number) => [{ model: 'm', stats: sampleStats(seconds) }];
    const { spans: first, phases } = feed.next(at(10));
    expect(first.length).toBeGreaterThan(0);
    // The newest step of the stage that told them.
    expect(phases.map(({ stage }) => stage)).toEqual(['decode']);
    expect(phases[0]!.endUs).toBe(
      Math.max(
        ...first
          .filter(({ stage, kind }) => stage === 'decode' && kind === 'decode')
          .map(({ endUs }) => endUs),
      ),
    );
    expect(feed.next(at(10))).toEqual({ spans: [], phases: [] });
    const last = Math.max(...first.map(({ endUs }) => endUs));
    const { spans: later } = feed.next(at(11));
    expect(later.length).toBeGreaterThan(0);
    expect(later.every(({ endUs }) => endUs > last)).toBe(true);
  });

  it('splits a step into its micro-batches', () => {
    const step = sampleStats(10).timeline.find(
      ({ stage, kind }) => stage === 'decode' && kind === 'compute',
    )!;
    const spans = stepSpans(step);
    expect(spans.map(({ microBatch }) => microBatch)).toEqual([0, 1]);
    expect(spans.reduce((sum, { sequences }) => sum + sequences, 0)).toBe(step.sequences);
    expect(stepSpans({ ...step, microBatches: [step.microBatches[0]!], fusedSteps: 4 })[0]).toMatchObject({
      kind: 'decode',
      microBatch: -1,
      tokens: step.decodeSequences * 4,
    });
  });
});
