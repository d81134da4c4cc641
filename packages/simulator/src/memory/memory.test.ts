import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Mtp, Pool, Precision } from '../cost/deployment.js';
import { publishedDeployment } from '../cost/published-deployment.js';
import { SimulatorError } from '../errors.js';
import { deepSeekV3 } from '../model/model-shape.js';
import { lowLatencyBufferBytes } from './activations.js';
import { kvBytesPerToken, type MemoryPlanOptions, memoryPlan } from './memory-plan.js';
import { checkpointWeights, rankWeights } from './weights.js';

const GiB = 2 ** 30;
const precision: Precision = { weights: 'fp8', attention: 'bf16', dispatch: 'fp8' };
const noMtp: Mtp = { enabled: false, draftTokens: 1, acceptance: 0 };

function pool(changes: Partial<Pool>): Pool {
  return {
    ...publishedDeployment('online').decode,
    maxTokensPerRank: 128,
    maxSequencesPerRank: 128,
    ...changes,
  };
}

function options(changes: Partial<MemoryPlanOptions>): MemoryPlanOptions {
  return {
    accelerator: { memoryBytes: 80 * GiB },
    model: deepSeekV3,
    phase: 'decode',
    pool: pool({}),
    precision,
    mtp: noMtp,
    blockSizeTokens: 64,
    ...changes,
  };
}

describe('checkpointWeights', () => {
  it('counts the published model', () => {
    const { parameters, bytes } = checkpointWeights(deepSeekV3, 'fp8');
    // Values and scales of the published repository together: 684,531,386,000.
    const quantised = 680_571_043_840;
    expect(parameters + quantised / 128 / 128 + scaleRemainder()).toBe(684_531_386_000);
    expect(bytes).toBe(688_574_839_360);
    expect(checkpointWeights({ ...deepSeekV3, mtpLayers: 0 }, 'fp8').parameters).toBe(671_026_419_200);
  });

  it('takes two bytes a value in BF16, apart from the float32 biases of the gates', () => {
    const { parameters, bytes } = checkpointWeights(deepSeekV3, 'bf16');
    expect(bytes).toBe(2 * parameters + 2 * 59 * 256);
  });

  it('halves experts in NVFP4', () => {
    const fp8 = rankWeights({ model: deepSeekV3, pool: pool({}), precision });
    const fp4 = rankWeights({ model: deepSeekV3, pool: pool({}), precision: { weights: 'fp4' } });
    expect(fp4.routedExperts.bytes / fp8.routedExperts.bytes).toBeCloseTo(0.5625, 3);
    expect(fp4.attention).toEqual(fp8.attention);
  });
});

/** Blocks that overhang: kv_a has 576 = 4.5 x 128 rows in each of 62 layers. */
function scaleRemainder(): number {
  return 62 * 0.5 * (7168 / 128);
}

describe('rankWeights', () => {
  it('puts 9 routed experts on a GPU of the published prefill unit and 2 on one of the decode unit', () => {
    const prefill = rankWeights({
      model: deepSeekV3,
      pool: pool({ tp: 4, dp: 8, ep: 32 }),
      precision,
    });
    expect(prefill.slots).toBe(9);
    expect(prefill.routedExperts.bytes).toBe(9 * 58 * 44_050_944);
    expect(prefill.expertBytes).toBe(44_050_944);
    expect(rankWeights({ model: deepSeekV3, pool: pool({}), precision }).slots).toBe(2);
  });

  it('adds up to the model over the GPUs that share it', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 4, 8, 16, 32, 64, 128, 256),
        fc.constantFrom(1, 2, 4),
        (ep, copies) => {
          const { routedExperts, dense } = rankWeights({
            model: deepSeekV3,
            pool: { tp: 1, dp: ep * copies, ep, redundantExperts: 0 },
            precision: { weights: 'bf16' },
          });
          expect(routedExperts.parameters * ep * copies).toBe(58 * 256 * 3 * 7168 * 2048);
          expect(dense.parameters * copies).toBe(3 * 3 * 7168 * 18_432);
        },
      ),
      { seed: 10, numRuns: 40 },
    );
  });

  it.each([
    [pool({ redundantExperts: 31 }), 'use 32 redundant experts: 2 slots on every GPU'],
    [pool({ tp: 3, dp: 48 }), 'choose a tp that divides the heads'],
    [pool({ ep: 100 }), 'choose ep = tp x dp'],
    [pool({ ep: 16, redundantExperts: 0 }), 'raise ep'],
  ])('says how a model that cannot be split can', (wrong, remedy) => {
    let caught: unknown;
    try {
      rankWeights({ model: deepSeekV3, pool: wrong, precision });
    } catch (error) {
      caught = error;
    }
    expect(SimulatorError.isInstance(caught) && caught.code).toBe('simulator/infeasible');
    expect(SimulatorError.isInstance(caught) && caught.remedy).toContain(remedy);
  });
});

describe('memoryPlan', () => {
  it('takes 70,272 bytes of KV for a token, half in FP8', () => {
    expect(kvBytesPerToken(deepSeekV3, 'bf16')).toBe(70_272);
    expect(kvBytesPerToken(deepSeekV3, 'fp8')).toBe(35_136);
    expect(kvBytesPerToken(deepSeekV3, 'bf16', { enabled: true })).toBe(71_424);
  });

  it('has room for the published concurrency: 88 requests of 4,989 tokens on a decode GPU', () => {
    const plan = memoryPlan(options({}));
    expect(plan.fits).toBe(true);
    expect(plan.kvTokens).toBeGreaterThan(88 * 4989);
    expect(plan.kvTokens % 64).toBe(0);
    const { weights, activations, kvBytes, reservedBytes } = plan;
    const used = weights.total.bytes + activations.peakBytes + kvBytes + reservedBytes;
    expect(plan.capacityBytes - used).toBeGreaterThanOrEqual(0);
    expect(plan.capacityBytes - used).toBeLessThan(64 * 70_272);
  });

  it('runs 16,384 tokens on a prefill GPU with two micro-batches', () => {
    const prefill = pool({ tp: 1, dp: 32, ep: 32, maxTokensPerRank: 16_384, maxSequencesPerRank: 16 });
    expect(memoryPlan(options({ phase: 'prefill', pool: prefill })).fits).toBe(true);
  });

  it('finds that one server of 8 H100s cannot hold the model, and by how much', () => {
    const plan = memoryPlan(options({ pool: pool({ dp: 8, ep: 8, redundantExperts: 0 }) }));
    expect(plan.fits).toBe(false);
    expect(plan.kvTokens).toBe(0);
    expect(plan.shortageBytes).toBeGreaterThan(plan.weights.total.bytes - 80 * GiB);
    const enough = { memoryBytes: 80 * GiB + plan.shortageBytes };
    expect(
      memoryPlan(options({ accelerator: enough, pool: pool({ dp: 8, ep: 8, redundantExperts: 0 }) }))
        .kvTokens,
    ).toBe(64);
  });

  it('needs more for more tokens, sequences, replicas, and never overcommits', () => {
    const layout = fc.record({
      ep: fc.constantFrom(8, 16, 32, 64, 128),
      extra: fc.integer({ min: 0, max: 2 }),
      maxTokensPerRank: fc.integer({ min: 1, max: 32_768 }),
      maxSequencesPerRank: fc.integer({ min: 1, max: 512 }),
      phase: fc.constantFrom('prefill' as const, 'decode' as const, 'both' as const),
      enabled: fc.boolean(),
    });
    fc.assert(
      fc.property(layout, ({ ep, extra, phase, enabled, ...limits }) => {
        const base = pool({
          dp: ep,
          ep,
          redundantExperts: extra * ep,
          ...limits,
          overlap: { enabled, communicationSms: 0 },
        });
        const accelerator = { memoryBytes: 400 * GiB };
        const of = (changes: Partial<Pool>) =>
          memoryPlan(options({ accelerator, phase, pool: { ...base, ...changes } }));
        const plan = of({});
        const used =
          plan.weights.total.bytes + plan.activations.peakBytes + plan.kvBytes + plan.reservedBytes;
        if (plan.fits) expect(used).toBeLessThanOrEqual(plan.capacityBytes);
        expect(of({ redundantExperts: base.redundantExperts + ep }).kvBytes).toBeLessThanOrEqual(
          plan.kvBytes,
        );
        expect(of({ maxTokensPerRank: base.maxTokensPerRank * 2 }).kvBytes).toBeLessThanOrEqual(plan.kvBytes);
        expect(of({ maxSequencesPerRank: base.maxSequencesPerRank * 2 }).kvBytes).toBeLessThanOrEqual(
          plan.kvBytes,
        );
      }),
      { seed: 4, numRuns: 200 },
    );
  });

  it('sizes the buffers of the low-latency kernels', () => {
    // 256 experts, 128 tokens: 2 x (send + receive) of 14,560-byte slots and the signals.
    expect(lowLatencyBufferBytes(deepSeekV3, 256, 128)).toBe(2 * (2 * 256 * 128 * 14_560 + 2048));
  });
});
