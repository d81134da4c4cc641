import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SimulatorError } from '../errors.js';
import { accelerators, b200, gb200Nvl72, h100, h200, h800 } from '../hardware/presets.js';
import { deepSeekV3, type ModelShape } from '../model/model-shape.js';
import { createStepCostModel, type StepCostOptions } from './create-step-cost-model.js';
import type { Deployment, Pool } from './deployment.js';
import { expertImbalance } from './expert-imbalance.js';
import { publishedDeployment } from './published-deployment.js';
import type { StepCostModel } from './step-cost.js';

function modelFor(change: Partial<Pool> = {}, options: Partial<StepCostOptions> = {}): StepCostModel {
  const base = publishedDeployment('profile');
  const deployment: Deployment = {
    ...base,
    prefill: { ...base.prefill!, ...change },
    decode: { ...base.decode, ...change },
  };
  return createStepCostModel({
    accelerator: h800,
    model: deepSeekV3,
    deployment,
    role: 'decode',
    ...options,
  });
}

function total(parts: Readonly<Record<string, number>>): number {
  return Object.values(parts).reduce((a, b) => a + b, 0);
}

function failure(run: () => unknown): SimulatorError {
  try {
    run();
  } catch (error) {
    expect(SimulatorError.isInstance(error)).toBe(true);
    return error as SimulatorError;
  }
  throw new Error('nothing was refused');
}

describe('createStepCostModel', () => {
  it('splits steps into parts that add up', () => {
    for (const enabled of [true, false]) {
      const overlap = { enabled, communicationSms: enabled ? 24 : 0 };
      const decode = modelFor({ overlap }).decodeStep({ sequences: 96, contextTokens: 96 * 3000 });
      expect(total(decode.parts)).toBeCloseTo(decode.seconds, 12);
      const prefill = modelFor({ overlap }, { role: 'prefill' }).prefillStep({
        tokens: 9000,
        contextTokens: 4000,
        sequences: 3,
      });
      expect(total(prefill.parts)).toBeCloseTo(prefill.seconds, 12);
      expect(prefill.parts.overlapped).toBeLessThan(0);
    }
  });

  it('counts the operations of a token: about twice the active parameters', () => {
    const { flops } = modelFor({}, { role: 'prefill' }).prefillStep({
      tokens: 8192,
      contextTokens: 0,
      sequences: 8192,
    });
    // 37 billion active parameters, of which the embedding (0.9) does no multiplication.
    expect(flops / 8192 / 2).toBeGreaterThan(35e9);
    expect(flops / 8192 / 2).toBeLessThan(38e9);
  });

  it('never gets cheaper with more work, anywhere', () => {
    const decode = modelFor();
    const prefill = modelFor({}, { role: 'prefill' });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 512 }),
        fc.integer({ min: 1, max: 100_000 }),
        fc.double({ min: 1.5, max: 4, noNaN: true }),
        (sequences, context, more) => {
          const load = sequences * context;
          // Measured kernels jitter by some per cent; no larger step down may come of it.
          expect(decode.decodeSeconds(sequences, load * more)).toBeGreaterThan(
            0.93 * decode.decodeSeconds(sequences, load),
          );
          const tokens = Math.min(65_536, sequences * 64);
          expect(prefill.prefillSeconds(tokens * more, 0, 1)).toBeGreaterThan(
            0.93 * prefill.prefillSeconds(tokens, 0, 1),
          );
          expect(prefill.prefillSeconds(tokens, context, 1)).toBeGreaterThanOrEqual(
            prefill.prefillSeconds(tokens, 0, 1),
          );
        },
      ),
      { seed: 3, numRuns: 200 },
    );
  });

  it('prices every preset and layout with finite positive seconds', () => {
    for (const accelerator of Object.values(accelerators)) {
      for (const layout of [
        { tp: 1, dp: 32, ep: 32 },
        { tp: 8, dp: 1, ep: 1 },
        { tp: 8, dp: 1, ep: 8 },
        { tp: 4, dp: 18, ep: 72, redundantExperts: 32 },
        { tp: 1, dp: 8, ep: 1 },
      ]) {
        const model = modelFor({ redundantExperts: 0, ...layout }, { accelerator });
        expect(model.decodeSeconds(16, 16 * 2000)).toBeGreaterThan(1e-3);
        expect(model.decodeSeconds(16, 16 * 2000)).toBeLessThan(1);
      }
    }
  });

  it('ranks GPUs as their figures do', () => {
    const seconds = (accelerator: StepCostOptions['accelerator']): number =>
      modelFor({ dp: 32, ep: 32 }, { accelerator }).decodeSeconds(128, 128 * 8000);
    expect(seconds(h200)).toBeLessThan(seconds(h100));
    expect(seconds(gb200Nvl72)).toBeLessThan(seconds(h200));
    expect(seconds(b200)).toBeLessThan(seconds(h100));
    // Within a node NVLink decides.
    const node = { dp: 8, ep: 8, overlap: { enabled: false, communicationSms: 0 } };
    const inNode = (accelerator: StepCostOptions['accelerator']): number =>
      modelFor(node, { accelerator }).decodeSeconds(128, 128 * 1000);
    expect(inNode(h100)).toBeLessThan(inNode(h800));
  });

  it('gives several tokens a step with multi-token prediction, for more than the price of one', () => {
    const deployment = publishedDeployment('online');
    const mtp = { enabled: true, draftTokens: 1, acceptance: 0.85 };
    const off = createStepCostModel({ accelerator: h800, model: deepSeekV3, deployment, role: 'decode' });
    const on = createStepCostModel({
      accelerator: h800,
      model: deepSeekV3,
      deployment: { ...deployment, mtp },
      role: 'decode',
    });
    expect(on.tokensPerStep).toBeCloseTo(1.85, 12);
    expect(on.decodeSeconds(64, 64 * 4000)).toBeGreaterThan(off.decodeSeconds(64, 64 * 4000));
    expect(on.decodeSeconds(64, 64 * 4000) / 1.85).toBeLessThan(off.decodeSeconds(64, 64 * 4000));
  });

  it('scales parts for what-if questions', () => {
    const overlap = { enabled: false, communicationSms: 0 };
    const plain = modelFor({ overlap }).decodeStep({ sequences: 64, contextTokens: 64_000 });
    const faster = modelFor({ overlap }, { scales: { combine: 0.5 } }).decodeStep({
      sequences: 64,
      contextTokens: 64_000,
    });
    expect(faster.parts.combine).toBeCloseTo(plain.parts.combine / 2, 12);
    expect(faster.parts.attention).toBe(plain.parts.attention);
  });

  it.each<[string, () => unknown]>([
    ['tp', () => modelFor({ tp: 3, dp: 32, ep: 32 })],
    ['communicationSms', () => modelFor({ overlap: { enabled: true, communicationSms: 132 } })],
    ['ep', () => modelFor({ dp: 512, ep: 512 })],
    ['deployment.prefill.dp', () => modelFor({ dp: -1 })],
    ['accelerator.sms', () => modelFor({}, { accelerator: { ...h800, sms: 0 } })],
    ['model.layers', () => modelFor({}, { model: { ...deepSeekV3, layers: 2.5 } as ModelShape })],
    [
      'tokens',
      () => modelFor({}, { role: 'prefill' }).prefillStep({ tokens: 0, contextTokens: 0, sequences: 1 }),
    ],
    ['contextTokens', () => modelFor().decodeStep({ sequences: 1, contextTokens: Number.NaN })],
  ])('names %s when it is wrong', (name, run) => {
    const error = failure(run);
    expect(error.code).toBe('simulator/bad-config');
    expect(`${error.message} ${error.remedy}`).toContain(name);
  });
});

describe('expertImbalance', () => {
  const { prefill } = publishedDeployment('online');

  it('is 1 for balanced experts and what was measured otherwise', () => {
    expect(expertImbalance(deepSeekV3, prefill!, { kind: 'balanced' })).toBe(1);
    expect(expertImbalance(deepSeekV3, prefill!, { kind: 'measured', imbalance: 1.3 })).toBe(1.3);
  });

  it('falls with redundant experts and grows with skew', () => {
    const at = (redundantExperts: number, alpha: number): number =>
      expertImbalance(deepSeekV3, { ...prefill!, redundantExperts }, { kind: 'powerLaw', alpha });
    expect(at(32, 0.8)).toBeLessThan(at(0, 0.8));
    expect(at(0, 1.2)).toBeGreaterThan(at(0, 0.6));
    expect(at(32, 0.6)).toBeLessThan(1.1);
  });
});
