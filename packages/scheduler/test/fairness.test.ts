import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Scheduler } from '../src/index.js';

/** Keeps every tenant's queue filled and runs until all have been served `total` tokens together. */
function saturate(
  weights: readonly number[],
  shapes: readonly [prompt: number, output: number][],
  total: number,
) {
  const scheduler = new Scheduler({
    blockSizeTokens: 16,
    maxWaiting: 200,
    maxContextTokens: 1024,
    fairness: { maxTenants: weights.length },
    stages: [{ name: 'all', role: 'mixed', blocks: 600, tokenBudget: 256, maxSequences: 16 }],
  });
  const waiting = weights.map(() => 0);
  const tenantOf = new Map<number, number>();
  for (const [tenant, weight] of weights.entries()) scheduler.setTenantWeight(tenant, weight);
  const outcomes = { tokens: new Int32Array(16), finished: new Uint8Array(16) };
  const served = () => weights.map((_, tenant) => scheduler.servedTokensOf(tenant));
  const submitAll = () => {
    weights.forEach((_, tenant) => {
      while (waiting[tenant]! < 20) {
        const [promptTokens, maxNewTokens] = shapes[tenant % shapes.length]!;
        const id = scheduler.submit({ promptTokens, maxNewTokens, arrivalUs: 0, tenant });
        tenantOf.set(id, tenant);
        waiting[tenant]! += 1;
      }
    });
  };
  while (served().reduce((sum, one) => sum + one, 0) < total) {
    submitAll();
    const plan = scheduler.schedule(0)!;
    for (let row = 0; row < plan.sequences; row++) {
      const id = plan.requestIds[row]!;
      // The first plan of a request has taken it out of the queue.
      if (tenantOf.has(id) && scheduler.stateOf(id) !== 'waiting') {
        waiting[tenantOf.get(id)!]! -= 1;
        tenantOf.delete(id);
      }
    }
    scheduler.complete(plan.stepId, outcomes, 0);
  }
  return served();
}

describe('fairness between tenants', () => {
  it('serves tokens within 10 % of the weights under saturation, whatever the lengths', () => {
    const weights = fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 2, maxLength: 5 });
    const shapes = fc.array(fc.tuple(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 120 })), {
      minLength: 5,
      maxLength: 5,
    });
    fc.assert(
      fc.property(weights, shapes, (shares, lengths) => {
        const served = saturate(shares, lengths as [number, number][], 400_000);
        const all = served.reduce((sum, one) => sum + one, 0);
        const weight = shares.reduce((sum, one) => sum + one, 0);
        served.forEach((tokens, tenant) => {
          const share = shares[tenant]! / weight;
          expect(Math.abs(tokens / all / share - 1)).toBeLessThan(0.1);
        });
      }),
      { seed: 20_250_111, numRuns: 12 },
    );
  });

  function pair(): Scheduler {
    return new Scheduler({
      blockSizeTokens: 4,
      maxWaiting: 100,
      maxContextTokens: 64,
      fairness: { maxTenants: 3 },
      stages: [{ name: 'all', role: 'mixed', blocks: 16, tokenBudget: 64, maxSequences: 1 }],
    });
  }

  /** Runs one request to its end and returns its id. */
  function serveOne(scheduler: Scheduler): number {
    const plan = scheduler.schedule(0)!;
    const id = plan.requestIds[0]!;
    scheduler.complete(plan.stepId, { tokens: new Int32Array(1), finished: Uint8Array.of(1) }, 0);
    return id;
  }

  it('lets nobody save up while idle', () => {
    const scheduler = pair();
    const request = { promptTokens: 20, maxNewTokens: 2, arrivalUs: 0 };
    for (let i = 0; i < 6; i++) scheduler.submit({ ...request, tenant: 0 });
    for (let i = 0; i < 4; i++) serveOne(scheduler);
    const late = Array.from({ length: 4 }, () => scheduler.submit({ ...request, tenant: 1 }));
    const order = Array.from({ length: 4 }, () => late.includes(serveOne(scheduler)));
    expect(order.filter(Boolean).length).toBe(2);
  });

  it('puts priority before fairness, and cancelled requests out of the way', () => {
    const scheduler = pair();
    const request = { promptTokens: 20, maxNewTokens: 2, arrivalUs: 0 };
    const first = scheduler.submit({ ...request, tenant: 0 });
    const second = scheduler.submit({ ...request, tenant: 1 });
    const urgent = scheduler.submit({ ...request, tenant: 1, priority: 1 });
    expect(serveOne(scheduler)).toBe(urgent);
    expect(scheduler.cancel(second)).toBe(true);
    const third = scheduler.submit({ ...request, tenant: 1 });
    expect([serveOne(scheduler), serveOne(scheduler)]).toEqual([first, third]);
    expect(scheduler.servedTokensOf(1)).toBe(42);
    expect(scheduler.stats.waiting).toBe(0);
  });

  it('refuses unknown tenants and weights that are no shares', () => {
    const scheduler = pair();
    expect(() => scheduler.submit({ promptTokens: 1, maxNewTokens: 1, arrivalUs: 0, tenant: 3 })).toThrow(
      'tenant',
    );
    expect(() => scheduler.setTenantWeight(-1, 1)).toThrow('tenant');
    for (const weight of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => scheduler.setTenantWeight(0, weight)).toThrow('weight');
    }
  });
});
