import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Workload } from '../cost/deployment.js';
import { SimulatorError } from '../errors.js';
import { accelerators } from '../hardware/presets.js';
import { memoryPlan } from '../memory/memory-plan.js';
import { deepSeekV3 } from '../model/model-shape.js';
import { type FrontierPoint, pareto } from './frontier.js';
import type { Infeasibility } from './infeasible.js';
import { type PlanResult, plan } from './plan.js';
import { type PlanOptions, readRequest } from './plan-options.js';

const workload: Workload = {
  requestsPerSecond: 60,
  inputTokens: { kind: 'logNormal', mean: 4000, deviation: 1, maximum: 32_768 },
  outputTokens: { kind: 'logNormal', mean: 1000, deviation: 1, maximum: 8192 },
  cachedFraction: 0.5,
  arrivals: { kind: 'poisson' },
};
const small = { nodes: [1, 2, 4, 8], tp: [1], extraSlots: [0, 1] };

function request(changes: Partial<PlanOptions> = {}): PlanOptions {
  return {
    accelerator: accelerators.h800,
    model: deepSeekV3,
    workload,
    slo: { ttftSeconds: 5, tpotSeconds: 0.06, quantile: 0.9 },
    gpus: 128,
    space: { prefill: small, decode: small, prefillTokens: [8192] },
    simulate: 0,
    ...changes,
  };
}

function check({
  candidates,
  request: { gpus, slo, accelerator, model, precision, mtp, blockSizeTokens },
}: PlanResult): void {
  expect(candidates.length).toBeGreaterThan(0);
  for (const candidate of candidates) {
    expect(candidate.gpus).toBeLessThanOrEqual(gpus);
    expect(candidate.pools.reduce((sum, pool) => sum + pool.gpus, 0)).toBe(candidate.gpus);
    expect(candidate.ttftSeconds).toBeLessThanOrEqual(slo.ttftSeconds);
    expect(candidate.tpotSeconds).toBeLessThanOrEqual(slo.tpotSeconds);
    expect(candidate.requestsPerSecond).toBeGreaterThanOrEqual(candidate.plannedRequestsPerSecond * 0.999);
    for (const { role, pool, memory, step, utilisation, binding } of candidate.pools) {
      expect(memory.fits).toBe(true);
      expect(pool.gpusPerNode).toBe(8);
      expect(utilisation).toBeLessThanOrEqual(1.0001);
      expect(step.seconds).toBeGreaterThan(0);
      expect(binding.text).toMatch(/^[a-zA-Z].*\d/);
      if (role === 'decode') {
        const again = memoryPlan({
          accelerator,
          model,
          phase: 'decode',
          pool,
          precision,
          mtp,
          blockSizeTokens,
        });
        expect(again.kvTokens).toBe(memory.kvTokens);
        // Every running request has room for the context that it holds on average.
        expect(memory.kvTokens).toBeGreaterThanOrEqual(pool.maxSequencesPerRank * 4000);
      }
    }
  }
}

function reasonOf(error: unknown): Infeasibility & { remedy: string } {
  if (!SimulatorError.isInstance(error)) throw error;
  expect(error.code).toBe('simulator/infeasible');
  return { ...(error.value as Infeasibility), remedy: error.remedy };
}

async function failure(options: PlanOptions): Promise<Infeasibility & { remedy: string }> {
  try {
    await plan(options);
  } catch (error) {
    return reasonOf(error);
  }
  throw new Error('expected the request to be infeasible');
}

describe('plan', () => {
  it('finds the cheapest deployment for a demand', async () => {
    const result = await plan(request());
    check(result);
    const gpus = result.candidates.map((candidate) => candidate.gpus);
    expect(gpus).toEqual([...gpus].sort((a, b) => a - b));
    expect(result.requestsPerSecond).toBe(60);
    const [best] = result.candidates;
    expect(best!.usdPerHour).toBe(best!.gpus * 2);
    expect(best!.usdPerMillionOutputTokens).toBeCloseTo(
      (2 / 3600 / best!.outputTokensPerSecondPerGpu) * 1e6,
      9,
    );
  });

  it('fills a cluster, the most requests first, and serves at least that rate as a demand', async () => {
    const result = await plan(request({ goal: 'cluster', gpus: 96 }));
    check(result);
    const rates = result.candidates.map((candidate) => candidate.plannedRequestsPerSecond);
    expect(rates).toEqual([...rates].sort((a, b) => b - a));
    const again = await plan(
      request({ gpus: 96, workload: { ...workload, requestsPerSecond: 0.98 * rates[0]! } }),
    );
    expect(again.candidates[0]!.gpus).toBeLessThanOrEqual(96);
  });

  it('gives a Pareto set whose points none beats', async () => {
    const { frontier } = await plan(request());
    expect(frontier.length).toBeGreaterThan(3);
    for (let i = 1; i < frontier.length; i++) {
      expect(frontier[i]!.tokensPerSecondPerUser).toBeGreaterThan(frontier[i - 1]!.tokensPerSecondPerUser);
      expect(frontier[i]!.tokensPerSecondPerGpu).toBeLessThan(frontier[i - 1]!.tokensPerSecondPerGpu);
    }
    expect(frontier.some(({ withinSlo }) => withinSlo)).toBe(true);
    const points = fc.array(
      fc.record({ x: fc.integer({ min: 1, max: 20 }), y: fc.integer({ min: 1, max: 20 }) }),
      { minLength: 1 },
    );
    fc.assert(
      fc.property(points, (list) => {
        const all = list.map(
          ({ x, y }) => ({ tokensPerSecondPerUser: x, tokensPerSecondPerGpu: y }) as FrontierPoint,
        );
        const front = pareto(all);
        const beats = (a: FrontierPoint, b: FrontierPoint) =>
          a.tokensPerSecondPerUser >= b.tokensPerSecondPerUser &&
          a.tokensPerSecondPerGpu >= b.tokensPerSecondPerGpu;
        for (const point of all) expect(front.some((each) => beats(each, point))).toBe(true);
        for (const a of front) for (const b of front) if (a !== b) expect(beats(a, b)).toBe(false);
      }),
      { seed: 8, numRuns: 200 },
    );
  });

  it('plans fewer requests for bursts, which steady rates hide', async () => {
    const calm = await plan(request({ goal: 'cluster' }));
    const bursts = { kind: 'bursts', factor: 4, burstSeconds: 30 } as const;
    const burst = await plan(request({ goal: 'cluster', workload: { ...workload, arrivals: bursts } }));
    expect(burst.candidates[0]!.requestsPerSecond).toBeLessThan(0.6 * calm.candidates[0]!.requestsPerSecond);
  });

  it('spends redundant experts where experts are not equally popular', async () => {
    const even = await plan(request({ skew: { kind: 'balanced' } }));
    const skewed = await plan(request({ skew: { kind: 'powerLaw', alpha: 0.8 } }));
    expect(even.candidates[0]!.deployment.decode.redundantExperts).toBe(0);
    const copies = skewed.candidates.map(({ deployment: { decode } }) => decode.redundantExperts);
    expect(Math.max(...copies)).toBeGreaterThan(0);
    expect(skewed.candidates[0]!.gpus).toBeGreaterThanOrEqual(even.candidates[0]!.gpus);
  });

  it('says how far it is and stops when told', async () => {
    const seen: string[] = [];
    const controller = new AbortController();
    const running = plan(
      request({
        signal: controller.signal,
        onProgress: ({ stage, done, total }) => {
          expect(done).toBeLessThanOrEqual(total);
          seen.push(stage);
          if (seen.length === 20) controller.abort();
        },
      }),
    );
    await expect(running).rejects.toMatchObject({ code: 'simulator/aborted' });
    expect(seen.length).toBeLessThan(40);
  });

  it('gives the same plan twice', async () => {
    expect(JSON.stringify(await plan(request()))).toBe(JSON.stringify(await plan(request())));
  });
});

describe('simulation of the best', () => {
  it('confirms a plan, and mends what breaks', async () => {
    const result = await plan(
      request({ goal: 'cluster', gpus: 48, keep: 4, simulate: 2, simulatedRequests: 3000 }),
    );
    check(result);
    const simulated = result.candidates.filter((candidate) => candidate.simulated !== null);
    expect(simulated.length).toBeGreaterThanOrEqual(2);
    for (const { simulated: figures } of simulated) {
      expect(figures!.requests).toBe(3000);
      expect(figures!.goodputShare).toBeGreaterThanOrEqual(0);
      if (figures!.keepsSlo) expect(figures!.tpotSeconds.p90).toBeLessThanOrEqual(0.0601);
    }
    expect(result.candidates[0]!.simulated?.keepsSlo ?? true).toBe(true);
  });

  it('gives up within its budget of requests when one estimate after the other breaks', async () => {
    const bursts = { kind: 'bursts', factor: 8, burstSeconds: 30 } as const;
    const { candidates } = await plan(
      request({
        gpus: 48,
        goal: 'cluster',
        slo: { ttftSeconds: 5, tpotSeconds: 0.06, quantile: 0.97 },
        workload: { ...workload, arrivals: bursts },
        simulate: 1,
        simulatedRequests: 20_000,
      }),
    );
    const simulated = candidates.flatMap(({ simulated: figures }) => figures ?? []);
    expect(simulated.every(({ keepsSlo }) => !keepsSlo)).toBe(true);
    expect(simulated.reduce((sum, { corrections }) => sum + corrections + 1, 0)).toBe(5);
  });
});

describe('what cannot be met comes with what can', () => {
  it('too few GPUs for the weights', async () => {
    const { reason, nearest } = await failure(request({ gpus: 8 }));
    expect(reason).toBe('memory');
    expect(nearest.gpus).toBe(16);
    const larger = { ...accelerators.h800, memoryBytes: nearest.memoryBytes! + 40e9 };
    check(
      await plan(
        request({ gpus: 8, accelerator: larger, workload: { ...workload, requestsPerSecond: 0.1 } }),
      ),
    );
  });

  it('less than one server', async () => {
    expect((await failure(request({ gpus: 4 }))).nearest.gpus).toBeGreaterThanOrEqual(16);
  });

  it('tokens faster than any layout makes them', async () => {
    const slo = { ttftSeconds: 5, tpotSeconds: 0.001, quantile: 0.9 };
    const { reason, nearest, remedy } = await failure(request({ slo }));
    expect(reason).toBe('tpot');
    expect(remedy).toContain('tpotSeconds');
    const relaxed = { ...slo, tpotSeconds: nearest.tpotSeconds! * 1.02 };
    check(await plan(request({ slo: relaxed, workload: { ...workload, requestsPerSecond: 0.01 } })));
  });

  it('first tokens faster than a prompt can be computed', async () => {
    const slo = { ttftSeconds: 0.02, tpotSeconds: 0.1, quantile: 0.9 };
    const { reason, nearest } = await failure(request({ slo }));
    expect(reason).toBe('ttft');
    const relaxed = { ...slo, ttftSeconds: nearest.ttftSeconds! * 1.05 };
    check(await plan(request({ slo: relaxed, workload: { ...workload, requestsPerSecond: 0.01 } })));
  });

  it('more requests than the GPUs serve', async () => {
    const { reason, nearest } = await failure(request({ workload: { ...workload, requestsPerSecond: 900 } }));
    expect(reason).toBe('rate');
    check(
      await plan(
        request({ workload: { ...workload, requestsPerSecond: nearest.requestsPerSecond! * 0.99 } }),
      ),
    );
    check(await plan(request({ gpus: nearest.gpus!, workload: { ...workload, requestsPerSecond: 900 } })));
  });

  it('prompts that no GPU has room for', async () => {
    const long = {
      ...workload,
      inputTokens: { kind: 'fixed', tokens: 1_000_000 } as const,
      cachedFraction: 0,
    };
    const { remedy } = await failure(request({ gpus: 16, workload: long }));
    expect(remedy).toMatch(/shorter prompts|ttftSeconds/);
  });
});

describe('bad requests', () => {
  it.each([
    ['gpus', { gpus: -1 }],
    ['gpus', { gpus: undefined as never }],
    ['workload.requestsPerSecond', { workload: { ...workload, requestsPerSecond: -5 } }],
    ['workload.inputTokens', { workload: { ...workload, inputTokens: { kind: 'fixed' } as never } }],
    ['slo.tpotSeconds', { slo: { ttftSeconds: 1 } as never }],
    ['slo.quantile', { slo: { ttftSeconds: 1, tpotSeconds: 1, quantile: 1.5 } }],
    ['model.experts', { model: { ...deepSeekV3, experts: 0 } }],
    ['FP4', { precision: { weights: 'fp4', attention: 'bf16', dispatch: 'fp8' } as const }],
  ])('names %s', async (field, changes) => {
    await expect(plan(request(changes))).rejects.toMatchObject({
      code: 'simulator/bad-config',
      message: expect.stringContaining(field) as string,
    });
  });

  it('refuse any value that does not belong with a typed error, or read it', () => {
    const fields = [
      'accelerator',
      'model',
      'workload',
      'slo',
      'gpus',
      'goal',
      'precision',
      'mtp',
      'skew',
      'blockSizeTokens',
    ];
    fc.assert(
      fc.property(fc.constantFrom(...fields), fc.anything(), (field, value) => {
        try {
          readRequest({ ...request(), [field]: value });
        } catch (error) {
          expect(SimulatorError.isInstance(error) && error.code).toBe('simulator/bad-config');
        }
      }),
      { seed: 12, numRuns: 500 },
    );
  });
});
