import { RoutingTrace } from '@moestack/schemas';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addNoise,
  type CapturedTrace,
  createRandom,
  createReplayRouter,
  createRouter,
  createTraceRecorder,
  RoutingError,
  traceLoad,
} from '../src/index.js';
import { decodeRoutingTrace, encodeRoutingTrace } from '../src/trace/index.js';
import { fuzz } from './fuzz-trace.js';

const traces: fc.Arbitrary<CapturedTrace> = fc
  .record({
    experts: fc.integer({ min: 1, max: 9 }),
    topK: fc.integer({ min: 1, max: 3 }),
    dropped: fc.nat(),
    weighted: fc.boolean(),
    at: fc.uniqueArray(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 4 })), {
      maxLength: 5,
      selector: ([step, layer]) => `${step}.${layer}`,
    }),
    seed: fc.nat(),
  })
  .map(({ experts, topK, dropped, weighted, at, seed }) => {
    const random = createRandom(seed);
    const records = at.map(([step, layer, tokens]) => ({
      step,
      layer,
      tokens,
      indices: Int32Array.from({ length: tokens * topK }, () => Math.floor(random() * (experts + 1)) - 1),
      ...(weighted ? { weights: Float32Array.from({ length: tokens * topK }, random) } : {}),
    }));
    return { experts, topK, dropped, records };
  });

describe('trace files', () => {
  it('give the trace back, inline and with a sidecar', async () => {
    await fc.assert(
      fc.asyncProperty(traces, fc.boolean(), async (trace, withSidecar) => {
        const { json, sidecar } = await encodeRoutingTrace(
          trace,
          withSidecar ? { sidecar: 'a.safetensors' } : {},
        );
        expect(sidecar !== undefined).toBe(withSidecar);
        expect(await decodeRoutingTrace(json, sidecar)).toEqual(trace);
      }),
      { seed: 20_250_110, numRuns: 150 },
    );
  });

  const trace: CapturedTrace = {
    experts: 4,
    topK: 2,
    dropped: 0,
    records: [
      { step: 0, layer: 1, tokens: 1, indices: Int32Array.of(3, 0), weights: Float32Array.of(0.5, 0.25) },
    ],
  };

  it('follow the published schema', async () => {
    const { json } = await encodeRoutingTrace({ ...trace, model: 'tiny' });
    const parsed = RoutingTrace.parse(JSON.parse(json));
    expect(parsed.records[0]?.indices).toEqual(Int32Array.of(3, 0));
    expect(JSON.parse(json).schemaVersion).toBe(1);
  });

  it('are refused when something is wrong with them', async () => {
    const inline = JSON.parse((await encodeRoutingTrace(trace)).json);
    const split = await encodeRoutingTrace(trace, { sidecar: 'a.safetensors' });
    const wrong: [unknown, Uint8Array | undefined][] = [
      ['no json', undefined],
      [{ ...inline, schemaVersion: 2 }, undefined],
      [{ ...inline, extra: 1 }, undefined],
      [{ ...inline, experts: 3 }, undefined],
      [{ ...inline, topK: 1 }, undefined],
      [{ ...inline, records: [inline.records[0], inline.records[0]] }, undefined],
      [{ ...inline, records: [{ step: 0, layer: 0, tokens: 1 }] }, undefined],
      [{ ...inline, records: [{ ...inline.records[0], indices: '*' }] }, undefined],
      [inline, split.sidecar],
      [JSON.parse(split.json), undefined],
      [JSON.parse(split.json), split.sidecar!.slice(1)],
    ];
    for (const [json, sidecar] of wrong) {
      const text = typeof json === 'string' ? json : JSON.stringify(json);
      await expect(decodeRoutingTrace(text, sidecar)).rejects.toMatchObject({ code: 'routing/bad-trace' });
    }
    await expect(encodeRoutingTrace({ ...trace, topK: 1 })).rejects.toThrow(RoutingError);
  });

  it('end in a trace or a typed error when mutated', async () => {
    const { runs, rejected } = await fuzz(2024, 3000);
    expect(runs).toBe(3000);
    // Most mutations break a file; if few did, the mutator would be too tame to mean anything.
    expect(rejected).toBeGreaterThan(2000);
    expect(rejected).toBeLessThan(3000);
  });
});

describe('createTraceRecorder', () => {
  const decision = { indices: Int32Array.of(0, 1, 2, 3), weights: Float32Array.of(1, 2, 3, 4) };

  it('keeps copies of the last records', () => {
    const recorder = createTraceRecorder({ experts: 4, topK: 2, maxRecords: 3, model: 'tiny' });
    for (let step = 0; step < 5; step++) recorder.record({ step, layer: 0, tokens: 2 }, decision);
    const trace = recorder.trace();
    expect(trace.records.map(({ step }) => step)).toEqual([2, 3, 4]);
    expect(trace).toMatchObject({ dropped: 2, model: 'tiny' });
    expect(trace.records[0]!.indices).not.toBe(decision.indices);
    expect(trace.records[0]!.weights).toBeUndefined();
    recorder.clear();
    expect(recorder.size).toBe(0);
    expect(recorder.trace().records).toEqual([]);
  });

  it('stays within its assignments', () => {
    const recorder = createTraceRecorder({ experts: 4, topK: 2, maxAssignments: 9, weights: true });
    for (let step = 0; step < 4; step++)
      recorder.record({ step, layer: 0, tokens: step === 3 ? 1 : 2 }, decision);
    expect(recorder.trace().records.map(({ step }) => step)).toEqual([2, 3]);
    expect(recorder.dropped).toBe(2);
    expect(recorder.trace().records[1]!.weights).toEqual(Float32Array.of(1, 2));
    const before = recorder.trace();
    expect(() => recorder.record({ step: 9, layer: 0, tokens: 5 }, decision)).toThrow(RoutingError);
    expect(() => recorder.record({ step: 9, layer: 0, tokens: 1 }, { indices: Int32Array.of(4, 0) })).toThrow(
      RoutingError,
    );
    expect(() => recorder.record({ step: -1, layer: 0, tokens: 1 }, decision)).toThrow(RoutingError);
    expect(recorder.trace()).toEqual(before);
  });

  it('counts a load per layer', () => {
    const recorder = createTraceRecorder({ experts: 4, topK: 2 });
    recorder.record({ step: 0, layer: 2, tokens: 2 }, decision);
    recorder.record({ step: 1, layer: 2, tokens: 1 }, { indices: Int32Array.of(0, -1) });
    recorder.record({ step: 1, layer: 0, tokens: 1 }, { indices: Int32Array.of(3, 2) });
    const { layers, counts } = traceLoad(recorder.trace());
    expect(layers).toBe(3);
    expect([...counts]).toEqual([0, 0, 1, 1, 0, 0, 0, 0, 2, 1, 1, 1]);
  });
});

describe('createReplayRouter', () => {
  const router = createRouter({ experts: 8, topK: 2, scoring: 'sigmoid' });
  const logits = addNoise(new Float32Array(80), { kind: 'forcedBalance' }, { random: createRandom(1) });

  it('repeats decisions, with the weights of new logits if wanted', () => {
    const decision = router.route(logits, 10, { mask: Uint8Array.of(1, 1, 1, 1, 1, 1, 1, 1, 1, 0) });
    for (const weights of [true, false]) {
      const recorder = createTraceRecorder({ experts: 8, topK: 2, weights });
      recorder.record({ step: 5, layer: 1, tokens: 10 }, decision);
      const replay = createReplayRouter(recorder.trace());
      expect(replay.has({ step: 5, layer: 1 })).toBe(true);
      const replayed = replay.route({ step: 5, layer: 1 });
      expect(replayed.indices).toEqual(decision.indices);
      expect(replayed.counts).toEqual(decision.counts);
      if (weights) expect(replayed.weights).toEqual(decision.weights);
      else expect([...replayed.weights.subarray(16)]).toEqual([0.5, 0.5, 0, 0]);
      expect(replay.route({ step: 5, layer: 1 }, { router, logits }).weights).toEqual(decision.weights);
      expect(() => replay.route({ step: 6, layer: 1 })).toThrow(
        expect.objectContaining({ code: 'routing/bad-trace' }) as RoutingError,
      );
      const other = createRouter({ experts: 8, topK: 3, scoring: 'sigmoid' });
      expect(() => replay.route({ step: 5, layer: 1 }, { router: other, logits })).toThrow(RoutingError);
    }
  });

  it('refuses a trace with two records of one place', () => {
    const record = { step: 0, layer: 0, tokens: 1, indices: Int32Array.of(0) };
    expect(() => createReplayRouter({ experts: 1, topK: 1, dropped: 0, records: [record, record] })).toThrow(
      RoutingError,
    );
  });
});
