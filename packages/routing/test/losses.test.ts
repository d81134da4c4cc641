import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  communicationBalanceLoss,
  deviceBalanceLoss,
  expertBalanceLoss,
  importanceLoss,
  loadLoss,
  RoutingError,
  sequenceBalanceLoss,
  switchLoss,
  zLoss,
} from '../src/index.js';
import { balanceCases, flat, logitsOf } from './balance-cases.js';

function expectRelative(actual: number, expected: number, bound: number): void {
  expect(Math.abs(actual - expected)).toBeLessThanOrEqual(bound * Math.abs(expected));
}

/** Entries cancel differently in every implementation, so the bound is relative to the largest. */
function expectGradient(actual: ArrayLike<number>, expected: readonly number[], bound: number): void {
  const largest = Math.max(...expected.map(Math.abs));
  expected.forEach((value, i) => {
    expect(Math.abs(actual[i]! - value)).toBeLessThanOrEqual(bound * largest);
  });
}

for (const { name, data } of balanceCases) {
  describe.each([
    { precision: 'f64' as const, bound: 1e-12 },
    { precision: 'f32' as const, bound: 1e-5 },
  ])(`losses of ${name} in $precision`, ({ precision, bound }) => {
    const { losses, E: experts, K: topK, T: tokens } = data;
    const logits = precision === 'f64' ? logitsOf(data) : Float32Array.from(logitsOf(data));
    const fresh = () =>
      precision === 'f64' ? new Float64Array(tokens * experts) : new Float32Array(tokens * experts);
    const shape = { experts, topK };

    it('gives the sequence losses, plain and routed', () => {
      const gradLogits = fresh();
      const options = { ...shape, sequenceTokens: data.S, coefficient: losses.v3_sequence_plain.alpha };
      const plain = sequenceBalanceLoss(logits, 'plain', { ...options, gradLogits });
      expectRelative(plain.value, losses.v3_sequence_plain.value, bound);
      expectGradient(gradLogits, losses.v3_sequence_plain.grad_logits.flat(), bound);
      const named = sequenceBalanceLoss(logits, flat(data.plain_sigmoid_indices), options);
      expect(named.value).toBe(plain.value);
      const routed = sequenceBalanceLoss(logits, flat(data.routed_sigmoid_indices), options);
      expectRelative(routed.value, losses.v3_sequence_routed.value, bound);
    });

    it('gives the expert, device and communication losses', () => {
      const indices = flat(data.routed_softmax_indices);
      const expert = expertBalanceLoss(logits, indices, { ...shape, coefficient: losses.v2_expert.alpha });
      expectRelative(expert.value, losses.v2_expert.value, bound);
      losses.v2_expert.f.forEach((f, e) => {
        expectRelative(expert.fractions[e]!, f, bound);
        expectRelative(expert.affinities[e]!, losses.v2_expert.P[e]!, bound);
      });
      const onDevices = { ...shape, devices: data.D };
      const device = deviceBalanceLoss(logits, indices, {
        ...onDevices,
        coefficient: losses.v2_device.alpha,
      });
      expectRelative(device.value, losses.v2_device.value, bound);
      losses.v2_device.f.forEach((f, d) => {
        expectRelative(device.fractions[d]!, f, bound);
        expectRelative(device.affinities[d]!, losses.v2_device.P[d]!, bound);
      });
      const communication = communicationBalanceLoss(logits, indices, {
        ...onDevices,
        deviceLimit: losses.v2_communication.M,
        coefficient: losses.v2_communication.alpha,
      });
      expectRelative(communication.value, losses.v2_communication.value, bound);
      losses.v2_communication.f.forEach((f, d) => {
        expectRelative(communication.fractions[d]!, f, bound);
      });
    });

    it('gives the switch losses of three conventions', () => {
      const gradLogits = fresh();
      const { coeff, value, grad_logits } = losses.switch_topk_normalised;
      const loss = switchLoss(logits, 'plain', { ...shape, coefficient: coeff, gradLogits });
      expectRelative(loss.value, value, bound);
      expectGradient(gradLogits, grad_logits.flat(), bound);
      const unnormalised = switchLoss(logits, 'plain', { ...shape, normalization: 'none' });
      expectRelative(unnormalised.value, losses.mixtral_hf_unnormalised.value, bound);
      const first = switchLoss(logits, 'plain', { ...shape, normalization: 'firstChoice' });
      expectRelative(first.value, losses.gshard_top1.value, bound);
    });

    it('gives micro-batch and global-batch losses', () => {
      const half = tokens / 2;
      const parts = [0, 1].map((i) => logits.slice(i * half * experts, (i + 1) * half * experts));
      const seen: Float64Array[] = [];
      parts.forEach((part, i) => {
        const keep = (counts: Float64Array) => {
          seen.push(counts.slice());
        };
        const loss = switchLoss(part, 'plain', { ...shape, reduceCounts: keep });
        expectRelative(loss.value, losses.micro_batch.values[i]!, bound);
      });
      parts.forEach((part, i) => {
        const addOther = (counts: Float64Array) => {
          for (let e = 0; e < counts.length; e++) counts[e]! += seen[1 - i]![e]!;
        };
        const loss = switchLoss(part, 'plain', { ...shape, reduceCounts: addOther });
        expectRelative(loss.value, losses.global_batch.values[i]!, bound);
      });
    });

    it('gives the z-loss and the importance loss', () => {
      const gradLogits = fresh();
      const z = zLoss(logits, { experts, coefficient: losses.z_loss.coeff, gradLogits });
      expectRelative(z.value, losses.z_loss.value, bound);
      expectGradient(gradLogits, losses.z_loss.grad_logits.flat(), bound);
      expectRelative(importanceLoss(logits, { experts }).value, losses.importance_cv2.value, bound);
    });
  });
}

type Loss = (logits: Float64Array, gradLogits?: Float64Array) => number;

/** Every loss as a function of the logits alone, with selections held fixed. */
function lossesOf(
  indices: Int32Array,
  mask: Uint8Array,
  scoring: 'sigmoid' | 'softmax' | 'sqrtSoftplus',
  noisyLogits: Float64Array,
): Record<string, Loss> {
  const shape = { experts: 6, topK: 2, mask, scoring, coefficient: 1 };
  const withGrad = (gradLogits: Float64Array | undefined) => (gradLogits === undefined ? {} : { gradLogits });
  return {
    sequence: (x, g) =>
      sequenceBalanceLoss(x, indices, { ...shape, sequenceTokens: 3, ...withGrad(g) }).value,
    unnormalised: (x, g) =>
      sequenceBalanceLoss(x, indices, {
        ...shape,
        sequenceTokens: 6,
        normalizeAffinities: false,
        ...withGrad(g),
      }).value,
    expert: (x, g) => expertBalanceLoss(x, indices, { ...shape, ...withGrad(g) }).value,
    device: (x, g) => deviceBalanceLoss(x, indices, { ...shape, devices: 3, ...withGrad(g) }).value,
    communication: (x, g) =>
      communicationBalanceLoss(x, indices, { ...shape, devices: 3, deviceLimit: 2, ...withGrad(g) }).value,
    switch: (x, g) => switchLoss(x, indices, { ...shape, ...withGrad(g) }).value,
    z: (x, g) => zLoss(x, { ...shape, ...withGrad(g) }).value,
    importance: (x, g) => importanceLoss(x, { ...shape, ...withGrad(g) }).value,
    load: (x, g) => loadLoss(x, { ...shape, noiseDeviation: 0.7, noisyLogits, ...withGrad(g) }).value,
  };
}

describe('gradients', () => {
  it('equal central differences for every loss, scorer and mask, and add to what is there', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -3, max: 3, noNaN: true }), { minLength: 36, maxLength: 36 }),
        fc.array(fc.integer({ min: -1, max: 5 }), { minLength: 12, maxLength: 12 }),
        fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 6, maxLength: 6 }),
        fc.constantFrom('sigmoid' as const, 'softmax' as const, 'sqrtSoftplus' as const),
        (values, ids, kept, scoring) => {
          const logits = Float64Array.from(values);
          const all = lossesOf(Int32Array.from(ids), Uint8Array.from(kept), scoring, logits.slice());
          for (const [name, loss] of Object.entries(all)) {
            const grad = new Float64Array(36).fill(2);
            loss(logits, grad);
            for (let i = 0; i < 36; i += 5) {
              const step = 1e-5;
              const high = logits.slice();
              const low = logits.slice();
              high[i]! += step;
              low[i]! -= step;
              const difference = (loss(high) - loss(low)) / (2 * step);
              expect(Math.abs(grad[i]! - 2 - difference), name).toBeLessThan(
                1e-7 * (1 + Math.abs(difference)),
              );
            }
          }
        },
      ),
      { seed: 20_250_103, numRuns: 30 },
    );
  });

  it('of a balanced batch give the published minima', () => {
    const experts = 4;
    const logits = new Float64Array(4 * experts);
    const indices = Int32Array.of(0, 1, 2, 3, 1, 0, 3, 2);
    expect(switchLoss(logits, indices, { experts, topK: 2 }).value).toBe(1);
    expect(switchLoss(logits, indices, { experts, topK: 2, normalization: 'none' }).value).toBe(2);
    expect(importanceLoss(logits, { experts }).value).toBe(0);
  });
});

describe('bad operands', () => {
  const logits = new Float64Array(8);
  it.each([
    ['ragged logits', () => zLoss(new Float64Array(7), { experts: 4 })],
    ['logits that are not finite', () => zLoss(Float64Array.of(1, Number.NaN), { experts: 2 })],
    ['unknown experts', () => switchLoss(logits, Int32Array.of(0, 4), { experts: 4, topK: 1 })],
    ['short indices', () => switchLoss(logits, Int32Array.of(0), { experts: 4, topK: 1 })],
    ['a short gradient', () => zLoss(logits, { experts: 4, gradLogits: new Float64Array(4) })],
    [
      'sequences that do not fit',
      () => sequenceBalanceLoss(new Float64Array(12), 'plain', { experts: 4, topK: 1, sequenceTokens: 2 }),
    ],
    [
      'devices that do not divide',
      () => deviceBalanceLoss(logits, 'plain', { experts: 4, topK: 1, devices: 3 }),
    ],
    ['no noise', () => loadLoss(logits, { experts: 4, topK: 1, noiseDeviation: 0 })],
  ])('are refused: %s', (_, run) => {
    expect(run).toThrow(RoutingError);
  });

  it('give 0 when every token is masked', () => {
    const mask = new Uint8Array(2);
    expect(switchLoss(logits, 'plain', { experts: 4, topK: 1, mask }).value).toBe(0);
    expect(zLoss(logits, { experts: 4, mask }).value).toBe(0);
    expect(sequenceBalanceLoss(logits, 'plain', { experts: 4, topK: 1, sequenceTokens: 1, mask }).value).toBe(
      0,
    );
  });
});
