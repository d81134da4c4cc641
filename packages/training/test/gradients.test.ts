import type { TrainConfig } from '@moestack/schemas';
import { describe, expect, it } from 'vitest';
import { Network } from '../src/network.js';
import { initialiseParameters } from '../src/parameters.js';
import { Runtime } from '../src/runtime.js';
import { referenceLoss } from './reference.js';
import { syntheticBatch, tinyConfig } from './tiny-config.js';

/** Elements of each tensor whose derivative is checked. */
const ELEMENTS = 4;
const DELTA = 1e-4;

function open(config: TrainConfig): { runtime: Runtime; network: Network } {
  const runtime = new Runtime(config);
  const network = new Network(runtime);
  initialiseParameters(runtime.plan, runtime.weights, config.seeds.weights);
  // Larger weights than at the start of training, so that no path's gradient is drowned by rounding.
  for (const { kind, offset, rows, cols } of runtime.plan.parameters) {
    for (let i = offset; i < offset + rows * cols; i++) {
      runtime.weights[i] = kind === 'norm' ? 1 + 0.2 * Math.sin(i) : runtime.weights[i]! * 12;
    }
  }
  network.prepare();
  return { runtime, network };
}

function check(config: TrainConfig): void {
  const { runtime, network } = open(config);
  const batch = syntheticBatch(config, 0, 0);
  const loss = network.loss(batch, { gradients: true });
  const indices = network.expertLayers.map((layer) => layer.indices);
  const weights = new Map(
    runtime.plan.parameters.map(({ name, offset, rows, cols }) => [
      name,
      Float64Array.from(runtime.weights.subarray(offset, offset + rows * cols)),
    ]),
  );
  const expected = referenceLoss(config, weights, batch, indices);
  // The balance loss is not part of the reported loss.
  if (config.balance.sequenceLoss === 0) expect(Math.abs(loss - expected)).toBeLessThan(1e-5);
  const largest = runtime.gradients.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
  for (const { name, offset, rows, cols } of runtime.plan.parameters) {
    const tensor = weights.get(name)!;
    for (let j = 0; j < ELEMENTS; j++) {
      const i = Math.floor(((j + 0.37) / ELEMENTS) * rows * cols);
      const value = tensor[i]!;
      tensor[i] = value + DELTA;
      const above = referenceLoss(config, weights, batch, indices);
      tensor[i] = value - DELTA;
      const below = referenceLoss(config, weights, batch, indices);
      tensor[i] = value;
      const numeric = (above - below) / (2 * DELTA);
      const analytic = runtime.gradients[offset + i]!;
      const bound = 2e-4 * Math.abs(numeric) + 2e-6 * largest;
      expect(Math.abs(analytic - numeric), `${name}[${i}]: ${analytic} against ${numeric}`).toBeLessThan(
        bound,
      );
    }
  }
}

describe('gradients', () => {
  it('equal central differences of a float64 reference, for every tensor', () => {
    check(tinyConfig());
  });

  it('also without compressed queries, groups or shared experts', () => {
    check(tinyConfig({ model: { queryRank: 0, groups: 1, topKGroups: 1, sharedExperts: 0, layers: 2 } }));
  });

  it('with a sequence-wise balance loss', () => {
    const { balance } = tinyConfig();
    check(tinyConfig({ balance: { ...balance, sequenceLoss: 0.5 }, model: { layers: 2 } }));
  });
});
