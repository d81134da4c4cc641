import { replayFcfs } from '@moestack/scheduler';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Deployment, Workload } from '../cost/deployment.js';
import { publishedDeployment } from '../cost/published-deployment.js';
import type { StepCost, StepCostModel } from '../cost/step-cost.js';
import { SimulatorError } from '../errors.js';
import { h800 } from '../hardware/presets.js';
import { deepSeekV3 } from '../model/model-shape.js';
import { requestsOf } from '../workload/request-source.js';
import { syntheticRequests } from '../workload/synthetic.js';
import { simulate } from './simulate.js';
import type { SimulateOptions } from './simulate-options.js';

/** Whole microseconds, linear in context, so that sums over fused steps have no rounding. */
const linear: StepCostModel = {
  tokensPerStep: 1,
  prefillStep: () => undefined as unknown as StepCost,
  decodeStep: () => undefined as unknown as StepCost,
  prefillSeconds: (tokens, context, sequences) => (20_000 + 50 * tokens + context + 10 * sequences) / 1e6,
  decodeSeconds: (sequences, context) => (5000 + 100 * sequences + 2 * context) / 1e6,
};
const costs = { prefill: linear, decode: linear };

function deployment(change: { prefill?: object | null; decode?: object } = {}): Deployment {
  const base = publishedDeployment('online');
  const prefill = { ...base.prefill!, dp: 2, ep: 2, maxTokensPerRank: 2048, kvTokensPerRank: 200_000 };
  const decode = { ...base.decode, dp: 3, ep: 3, maxSequencesPerRank: 8, kvTokensPerRank: 20_000 };
  return {
    ...base,
    prefill: change.prefill === null ? null : { ...prefill, ...change.prefill },
    decode: { ...decode, ...change.decode },
  };
}

const workload: Workload = {
  requestsPerSecond: 12,
  inputTokens: { kind: 'logNormal', mean: 900, deviation: 1, maximum: 6000 },
  outputTokens: { kind: 'logNormal', mean: 60, deviation: 1, maximum: 500 },
  cachedFraction: 0.3,
  arrivals: { kind: 'gamma', deviation: 2 },
};

function options(change: Partial<SimulateOptions> = {}): SimulateOptions {
  return {
    accelerator: h800,
    model: deepSeekV3,
    deployment: deployment(),
    workload,
    requestCount: 400,
    costs,
    ...change,
  };
}

async function failure(change: Partial<SimulateOptions>): Promise<SimulatorError> {
  const error: unknown = await simulate(options(change)).catch((caught: unknown) => caught);
  expect(SimulatorError.isInstance(error)).toBe(true);
  return error as SimulatorError;
}

describe('simulate', () => {
  it('serves every request and counts every token', async () => {
    const result = await simulate(options());
    expect(result.finished).toBe(400);
    expect(result.arrived).toBe(400);
    expect(result.refused).toEqual({ full: 0, tooLong: 0 });
    expect(result.ttftSeconds.mean).toBeGreaterThan(0.02);
    expect(result.tpotSeconds.p50).toBeGreaterThan(0.005);
    expect(result.decode.utilisation).toBeGreaterThan(0);
    expect(result.decode.utilisation).toBeLessThanOrEqual(1);
    const drawn = { arrivalUs: 0, inputTokens: 1, outputTokens: 1, blocks: [], cachedTokens: 0 };
    const source = syntheticRequests(workload, { requests: 400 });
    let output = 0;
    while (source.next(drawn)) output += drawn.outputTokens;
    expect(result.outputTokens).toBe(output);
  });

  it('gives the same result for the same seed, and another for another', async () => {
    const [first, second, other] = await Promise.all([
      simulate(options()),
      simulate(options()),
      simulate(options({ seed: 2 })),
    ]);
    expect(second).toEqual(first);
    expect(other.durationSeconds).not.toBe(first.durationSeconds);
  });

  it('finds the same times with fused and with single steps', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.integer({ min: 1, max: 1000 }),
          rate: fc.constantFrom(2, 12, 60),
          decodeRanks: fc.integer({ min: 1, max: 4 }),
          kvTokens: fc.constantFrom(7000, 9000, 20_000),
          mixed: fc.boolean(),
          units: fc.integer({ min: 1, max: 3 }),
          closed: fc.boolean(),
        }),
        async ({ seed, rate, decodeRanks, kvTokens, mixed, units, closed }) => {
          const decode = { units, dp: decodeRanks, ep: decodeRanks, kvTokensPerRank: kvTokens };
          const arrivals = closed ? ({ kind: 'closed', concurrency: rate } as const) : workload.arrivals;
          const change = {
            seed,
            requestCount: 120,
            workload: { ...workload, requestsPerSecond: rate, arrivals },
            deployment: deployment({ prefill: mixed ? null : { units }, decode }),
          };
          const fused = await simulate(options(change));
          const single = await simulate(options({ ...change, singleSteps: true }));
          expect(fused).toEqual(single);
        },
      ),
      { seed: 5, numRuns: 40 },
    );
  });

  it('queues first come, first served where one request runs at a time', async () => {
    const requests = Array.from({ length: 200 }, (_, i) => ({
      arrivalUs: i * 40_000 + ((i * 7919) % 30_000),
      inputTokens: 1 + ((i * 104_729) % 1500),
      outputTokens: 1,
    }));
    const one = { dp: 1, ep: 1, maxSequencesPerRank: 1, maxTokensPerRank: 100_000 };
    const result = await simulate({
      ...options({ requests: requestsOf(requests), deployment: deployment({ prefill: one }) }),
      workload: undefined as never,
    });
    const expected = replayFcfs(
      requests.map(({ arrivalUs, inputTokens }) => ({ arrivalUs, serviceUs: 20_010 + 50 * inputTokens })),
      1,
    );
    let sum = 0;
    requests.forEach(({ inputTokens }, i) => {
      sum += expected.waitUs[i]! + 20_010 + 50 * inputTokens;
    });
    expect(result.ttftSeconds.mean).toBeCloseTo(sum / 200 / 1e6, 9);
    expect(result.durationSeconds).toBeCloseTo((expected.makespanUs - requests[0]!.arrivalUs) / 1e6, 9);
  });

  it('keeps closed traffic at its number of users', async () => {
    const closed = { ...workload, arrivals: { kind: 'closed', concurrency: 10 } as const };
    const result = await simulate(options({ workload: closed }));
    expect(result.finished).toBe(400);
    // Little's law: users = rate x time in the system, but for the ends of the run.
    expect(result.requestsPerSecond * result.latencySeconds.mean).toBeGreaterThan(9);
    expect(result.requestsPerSecond * result.latencySeconds.mean).toBeLessThanOrEqual(10.001);
  });

  it('preempts where KV is short, and still finishes everything, token for token', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1000 }),
        fc.constantFrom(700, 900, 1500),
        async (seed, kvTokens) => {
          const tight = deployment({
            decode: { dp: 1, ep: 1, kvTokensPerRank: kvTokens, maxSequencesPerRank: 64 },
          });
          const growing: Workload = {
            ...workload,
            requestsPerSecond: 40,
            inputTokens: { kind: 'uniform', minimum: 1, maximum: 200 },
            outputTokens: { kind: 'uniform', minimum: 1, maximum: 400 },
          };
          const change = {
            deployment: { ...tight, blockSizeTokens: 16 },
            workload: growing,
            requestCount: 100,
            seed,
          };
          const fused = await simulate(options(change));
          expect(fused.finished).toBe(100);
          expect(fused.decode.preemptions).toBeGreaterThan(0);
          expect(fused.decode.peakKvShare).toBeGreaterThan(0.9);
          expect(await simulate(options({ ...change, singleSteps: true }))).toEqual(fused);
        },
      ),
      { seed: 21, numRuns: 12 },
    );
  });

  it('refuses what can never fit and what finds queues full, and counts both', async () => {
    const requests = [
      { inputTokens: 250_000, outputTokens: 10 },
      ...Array.from({ length: 50 }, () => ({ inputTokens: 1000, outputTokens: 10 })),
    ];
    const result = await simulate({
      ...options({ requests: requestsOf(requests), maxWaiting: 4 }),
      workload: undefined as never,
    });
    expect(result.refused.tooLong).toBe(1);
    expect(result.refused.full).toBeGreaterThan(10);
    expect(result.finished + result.refused.full + result.refused.tooLong).toBe(51);
  });

  it('hits the prefix cache of a trace', async () => {
    const requests = Array.from({ length: 20 }, (_, i) => ({
      arrivalUs: i * 1e6,
      inputTokens: 1024,
      outputTokens: 2,
      blocks: [1, 2],
    }));
    const run = (prefixCacheBlocks: number): ReturnType<typeof simulate> =>
      simulate({
        ...options({ requests: requestsOf(requests), prefixCacheBlocks }),
        workload: undefined as never,
      });
    const warm = await run(10);
    const cold = await run(0);
    expect(warm.cachedTokens).toBe(19 * 1023);
    expect(cold.cachedTokens).toBe(0);
    expect(warm.ttftSeconds.mean).toBeLessThan(cold.ttftSeconds.mean);
  });

  it('judges an objective and records a bounded timeline', async () => {
    const slo = { ttftSeconds: 10, tpotSeconds: 1, quantile: 0.9 };
    const met = await simulate(options({ slo, timelineSteps: 50 }));
    expect(met.meetsSlo).toBe(true);
    expect(met.goodput?.share).toBe(1);
    expect(met.timeline).toHaveLength(50);
    const missed = await simulate(options({ slo: { ...slo, tpotSeconds: 1e-4 } }));
    expect(missed.meetsSlo).toBe(false);
    expect(missed.goodput?.share).toBe(0);
  });

  it('reports progress and stops when told', async () => {
    const controller = new AbortController();
    controller.abort();
    const error = await failure({ signal: controller.signal });
    expect(error.code).toBe('simulator/aborted');
  });

  it.each<[string, Partial<SimulateOptions>]>([
    ['workload.requestsPerSecond', { workload: { ...workload, requestsPerSecond: -1 } }],
    ['slo.ttftSeconds', { slo: { ttftSeconds: 0, tpotSeconds: 1, quantile: 0.9 } }],
    ['deployment.decode.dp', { deployment: deployment({ decode: { dp: 0 } }) }],
    ['requestCount', { requestCount: 0.5 }],
    ['timelineSteps', { timelineSteps: -1 }],
    ['prefixCacheBlocks', { prefixCacheBlocks: Number.NaN }],
    ['requests or workload', { workload: undefined as never }],
  ])('names %s when it is wrong', async (name, change) => {
    const error = await failure(change);
    expect(error.code).toBe('simulator/bad-config');
    expect(`${error.message} ${error.remedy}`).toContain(name.split('.').at(-1));
  });

  it.each<[string, object[]]>([
    ['at least 1 request', []],
    ['finite arrivals', [{}, { arrivalUs: Number.POSITIVE_INFINITY }]],
    ['finite arrivals', [{ arrivalUs: Number.NaN }]],
    ['ascending order', [{ arrivalUs: 9 }, { arrivalUs: 8 }]],
    ['cachedTokens', [{ cachedTokens: -1 }]],
    ['inputTokens', [{ inputTokens: 0.5 }]],
  ])('expects %s of a trace', async (expected, requests) => {
    const error = await failure({ workload: undefined as never, requests: requestsOf(requests) });
    expect(error.code).toBe('simulator/bad-trace');
    expect(error.message).toContain(expected);
  });

  it('says how much memory is missing', async () => {
    const { kvTokensPerRank: _, ...pool } = deployment().decode;
    const error = await failure({ deployment: { ...deployment(), decode: pool } });
    expect(error.code).toBe('simulator/out-of-memory');
    expect(error.message).toMatch(/GiB are missing/);
  });
});
