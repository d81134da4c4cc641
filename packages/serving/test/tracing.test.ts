import { describe, expect, it } from 'vitest';
import type { GatewayEvent } from '../src/observer.js';
import { AccessLog, type AccessLogEntry } from '../src/tracing/access-log.js';
import { perfettoTrace } from '../src/tracing/perfetto.js';
import { RequestLog } from '../src/tracing/request-log.js';
import { sampleStats } from './dashboard/sample-engine.js';

function events(requestId: string, stream = true): GatewayEvent[] {
  return [
    {
      type: 'received',
      requestId,
      atUs: 1000,
      route: '/v1/completions',
      model: 'm'.repeat(500),
      stream,
      bodyBytes: 77,
      keyId: 'team',
    },
    { type: 'routed', requestId, atUs: 1100, backend: 'pool', worker: 'a:1', role: 'prefill', attempt: 0 },
    {
      type: 'retry',
      requestId,
      atUs: 1200,
      backend: 'pool',
      worker: 'a:1',
      attempt: 1,
      reason: 'x',
      delaySeconds: 0,
    },
    { type: 'routed', requestId, atUs: 1300, backend: 'pool', worker: 'b:1', role: 'prefill', attempt: 1 },
    { type: 'first-byte', requestId, atUs: 5000 },
    { type: 'usage', requestId, atUs: 9000, promptTokens: 4, completionTokens: 5, cachedTokens: 1 },
    { type: 'finished', requestId, atUs: 9000, status: 200, outcome: 'ok' },
  ];
}

describe('AccessLog', () => {
  it('writes a line for each request, without any text of it', () => {
    const entries: AccessLogEntry[] = [];
    const log = new AccessLog((entry) => entries.push(entry), {
      nowUs: () => 0,
      unixSeconds: () => 1_700_000_000,
    });
    for (const event of events('r')) log.observe(event);
    expect(entries).toEqual([
      {
        time: '2023-11-14T22:13:20.000Z',
        requestId: 'r',
        route: '/v1/completions',
        model: `${'m'.repeat(200)}…`,
        status: 200,
        outcome: 'ok',
        key: 'team',
        stream: true,
        bodyBytes: 77,
        durationMs: 8,
        ttftMs: 4,
        tpotMs: 1,
        promptTokens: 4,
        completionTokens: 5,
        cachedTokens: 1,
        workers: ['a:1', 'b:1'],
        retries: 1,
      },
    ]);
  });

  it('has no time per token for an answer in one piece', () => {
    const entries: AccessLogEntry[] = [];
    const log = new AccessLog((entry) => entries.push(entry), { nowUs: () => 0, unixSeconds: () => 0 });
    for (const event of events('r', false)) log.observe(event);
    expect(entries[0]).not.toHaveProperty('tpotMs');
  });
});

describe('perfettoTrace', () => {
  it('has a track for each stage and micro-batch, and nested slices for each request', () => {
    const log = new RequestLog(3);
    for (let i = 0; i < 5; i++) for (const event of events(`r${i}`)) log.observe(event);
    expect(log.requests.map(({ received }) => received.requestId)).toEqual(['r2', 'r3', 'r4']);
    const stats = sampleStats(20);
    const { traceEvents } = JSON.parse(
      JSON.stringify(perfettoTrace([{ model: 'm', stats }], log.requests)),
    ) as ReturnType<typeof perfettoTrace>;
    const threads = traceEvents.filter(({ name, ph }) => ph === 'M' && name === 'thread_name');
    expect(threads.map(({ args }) => args?.['name']).sort()).toEqual([
      'KV hand-over',
      'decode, micro-batch 1',
      'decode, micro-batch 2',
      'prefill',
    ]);
    const isPhase = ({ cat }: { cat?: string }) => cat === 'phase';
    const slices = traceEvents.filter((event) => event.ph === 'X' && !isPhase(event));
    for (const { ts, dur, tid } of traceEvents.filter(isPhase)) {
      const around = slices.filter(
        (slice) => slice.tid === tid && slice.ts! <= ts! && slice.ts! + slice.dur! >= ts! + dur!,
      );
      expect(around).toHaveLength(1);
    }
    expect(traceEvents.filter(isPhase)).toHaveLength(
      stats.timeline.reduce((sum, { phases }) => sum + phases.length, 0),
    );
    const spans = stats.timeline.reduce((sum, step) => sum + Math.max(1, step.microBatches.length), 0);
    expect(slices).toHaveLength(spans);
    expect(
      slices.every(({ ts, dur, pid, tid }) => Number.isFinite(ts) && dur! >= 0 && pid === 2 && tid! > 0),
    ).toBe(true);
    for (const id of ['r2', 'r3', 'r4']) {
      const own = traceEvents.filter((event) => event.id === id);
      const open: string[] = [];
      for (const event of own.filter(({ ph }) => ph !== 'n')) {
        if (event.ph === 'b') open.push(event.name);
        else expect(open.splice(open.lastIndexOf(event.name), 1)).toEqual([event.name]);
      }
      expect(open).toEqual([]);
      expect(own.filter(({ ph }) => ph === 'n')).toHaveLength(2);
    }
  });

  it('is a trace when there is nothing yet', () => {
    expect(perfettoTrace([], []).traceEvents).toHaveLength(1);
  });
});
