import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  balanceMetrics,
  type Deployment,
  ExpertLoadRecorder,
  gpuLoads,
  initialPlan,
  LiveRebalancer,
  LoadForecast,
  MigrationSchedule,
  planFromSlots,
  RebalanceTrigger,
} from '../src/index.js';

const SECOND = 1e6;

describe('ExpertLoadRecorder', () => {
  it('sums the last closed buckets and forgets older ones', () => {
    const recorder = new ExpertLoadRecorder({ layers: 1, experts: 2, bucketSeconds: 10, buckets: 3 });
    recorder.advance(5 * SECOND);
    for (let i = 1; i <= 6; i++) {
      recorder.recordLogical(0, [i, 10 * i]);
      expect(recorder.advance((5 + 10 * i) * SECOND)).toBe(1);
    }
    expect([...recorder.window().counts]).toEqual([15, 150]);
    expect([...recorder.window(1).counts]).toEqual([6, 60]);
    expect(() => recorder.bucket(2)).toThrowError(/closed bucket/);
  });

  it('leaves out the open bucket and is empty after a long silence', () => {
    const recorder = new ExpertLoadRecorder({ layers: 1, experts: 1, buckets: 4 });
    recorder.advance(0);
    recorder.recordLogical(0, [7]);
    expect([...recorder.window().counts]).toEqual([0]);
    expect(recorder.advance(1e6 * 60 * SECOND)).toBe(1e6);
    expect([...recorder.window().counts]).toEqual([0]);
  });

  it('maps physical counts back by the plan in force', () => {
    const deployment: Deployment = { nodes: 1, gpus: 2, replicas: 4 };
    const options = { layers: 1, experts: 3, deployment };
    const recorder = new ExpertLoadRecorder({ layers: 1, experts: 3 });
    recorder.advance(0);
    recorder.recordPhysical(0, [1, 2, 3, 4], planFromSlots([0, 1, 2, 0], options));
    recorder.recordPhysical(0, [1, 2, 3, 4], planFromSlots([2, 2, 1, 0], options));
    recorder.advance(60 * SECOND);
    expect([...recorder.window().counts]).toEqual([5 + 4, 2 + 3, 3 + 3]);
  });

  it('refuses counts of another shape and what is no count', () => {
    const recorder = new ExpertLoadRecorder({ layers: 1, experts: 2 });
    expect(() => recorder.recordLogical(0, [1])).toThrowError(/2 counts/);
    expect(() => recorder.recordLogical(1, [1, 2])).toThrowError(/layer/);
    expect(() => recorder.recordLogical(0, [1, Number.NaN])).toThrowError(/finite/);
  });
});

describe('LoadForecast', () => {
  it('is the mean of steady load and follows a jump within a few buckets', () => {
    const forecast = new LoadForecast(1, 2);
    const out = new Float64Array(2);
    for (let i = 0; i < 30; i++) forecast.observe([30 + (i % 2), 10 - (i % 2)]);
    forecast.forecastInto(out);
    expect(out[0]! / out[1]!).toBeGreaterThan(3);
    expect(out[0]! / out[1]!).toBeLessThan(3.5);
    for (let i = 0; i < 3; i++) forecast.observe([10, 30]);
    forecast.forecastInto(out);
    expect(out[1]! / out[0]!).toBeGreaterThan(2);
  });

  it('never gives NaN, whatever is empty', () => {
    const row = fc.array(fc.oneof(fc.constant(0), fc.nat(1000)), { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(fc.array(row, { maxLength: 12 }), fc.integer({ min: 1, max: 5 }), (buckets, horizon) => {
        const forecast = new LoadForecast(2, 3, horizon);
        for (const bucket of buckets) forecast.observe(bucket);
        const out = new Float64Array(6);
        forecast.forecastInto(out);
        for (const value of out) {
          expect(value).toBeGreaterThanOrEqual(0);
          expect(value).toBeLessThanOrEqual(3 + 1e-9);
        }
      }),
      { seed: 51, numRuns: 300 },
    );
  });
});

describe('RebalanceTrigger', () => {
  it('fires by period', () => {
    const trigger = new RebalanceTrigger({ periodSeconds: 600 });
    const fired = Array.from({ length: 31 }, (_, minute) => trigger.check(minute * 60 * SECOND, 0)).flatMap(
      (r, m) => (r === undefined ? [] : [[m, r]]),
    );
    expect(fired).toEqual([
      [10, 'period'],
      [20, 'period'],
      [30, 'period'],
    ]);
  });

  it('fires early once, and again only after the imbalance has fallen', () => {
    const trigger = new RebalanceTrigger({
      periodSeconds: 1e6,
      imbalance: 0.2,
      hysteresis: 0.05,
      minIntervalSeconds: 0,
    });
    const seen = [0.1, 0.3, 0.3, 0.18, 0.3, 0.15, 0.3].map((v, i) => trigger.check(i * SECOND, v));
    expect(seen).toEqual([undefined, 'imbalance', undefined, undefined, undefined, undefined, 'imbalance']);
  });

  it('keeps the shortest interval', () => {
    const trigger = new RebalanceTrigger({ imbalance: 0.1, minIntervalSeconds: 60 });
    trigger.check(0, 0);
    expect(trigger.check(59 * SECOND, 1)).toBeUndefined();
    expect(trigger.check(60 * SECOND, 1)).toBe('imbalance');
  });
});

describe('LiveRebalancer', () => {
  it('brings a skewed deployment into balance step by step', () => {
    const deployment: Deployment = { nodes: 2, gpus: 4, replicas: 40 };
    const live = new LiveRebalancer(initialPlan(2, 32, deployment), {
      periodSeconds: 60,
      minIntervalSeconds: 0,
    });
    const counts = Float64Array.from({ length: 32 }, (_, e) => Math.round(4000 / (1 + e)));
    const load = { layers: 2, experts: 32, counts: Float64Array.of(...counts, ...counts) };
    const before = balanceMetrics(gpuLoads(load, live.plan), 4).ratioOfSums;
    live.tick(0);
    let migrations = 0;
    for (let minute = 1; minute <= 12; minute++) {
      for (let layer = 0; layer < 2; layer++) live.recorder.recordLogical(layer, counts);
      const due = live.tick(minute * 60 * SECOND);
      if (due === undefined) continue;
      migrations++;
      expect(due.reason).toBe('period');
      const schedule = new MigrationSchedule(due.migration, { expertBytes: 1e6 });
      for (let step = schedule.nextStep(); step; step = schedule.nextStep()) {
        for (const transfer of step.transfers) schedule.arrived(transfer);
        for (const layer of step.completes) schedule.switchLayer(layer);
      }
      live.adopt(schedule.currentPlan());
    }
    expect(migrations).toBeGreaterThan(0);
    expect(balanceMetrics(gpuLoads(load, live.plan), 4).ratioOfSums).toBeGreaterThan(Math.max(before, 0.97));
  });

  it('plans nothing while a migration is under way', () => {
    const deployment: Deployment = { nodes: 1, gpus: 2, replicas: 6 };
    const live = new LiveRebalancer(initialPlan(1, 4, deployment), {
      periodSeconds: 60,
      minIntervalSeconds: 0,
    });
    live.tick(0);
    const record = (): void => live.recorder.recordLogical(0, [900, 20, 800, 10]);
    record();
    expect(live.tick(60 * SECOND)).toBeDefined();
    record();
    expect(live.tick(120 * SECOND)).toBeUndefined();
  });
});
