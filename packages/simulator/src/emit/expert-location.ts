import { initialPlan, type Load, type Plan, rebalance } from '@moestack/placement';
import { fillLayers, slotsOfPlan, writeSlotsFile } from '@moestack/placement/interop';
import type { Pool } from '../cost/deployment.js';
import { SimulatorError } from '../errors.js';
import type { ModelShape } from '../model/model-shape.js';

/** Names of the MoE layers of a model. */
export function moeLayers({ layers, denseLayers }: ModelShape): number[] {
  return Array.from({ length: layers - denseLayers }, (_, index) => denseLayers + index);
}

/**
 * Where the experts of a unit live: planned for recorded `load`, or expert i % E in slot i, as engines do without statistics.
 *
 * @param load - tokens of every MoE layer, or of every layer with rows of zeros for dense ones.
 */
export function expertPlan(pool: Pool, nodes: number, model: ModelShape, load?: Load): Plan {
  const { experts } = model;
  const ids = moeLayers(model);
  const deployment = {
    nodes: pool.ep % nodes === 0 ? nodes : 1,
    gpus: pool.ep,
    replicas: experts + pool.redundantExperts,
  };
  if (load === undefined) return initialPlan(ids.length, experts, deployment);
  if (load.experts !== experts || (load.layers !== ids.length && load.layers !== model.layers)) {
    throw new SimulatorError({
      code: 'simulator/bad-config',
      message: `expected a load of ${ids.length} MoE layers of ${experts} experts, got ${load.layers} layers of ${load.experts}`,
      value: [load.layers, load.experts],
      remedy: 'record the load with the same model',
    });
  }
  const first = load.layers === ids.length ? 0 : model.denseLayers;
  const counts = Float64Array.from(load.counts.subarray(first * experts, (first + ids.length) * experts));
  return rebalance({ layers: ids.length, experts, counts }, deployment, { policy: 'optimal' });
}

/** The file that SGLang takes as `--init-expert-location`: all layers of the model, dense ones too. */
export function expertLocationFile(plan: Plan, model: ModelShape): Uint8Array {
  const slots = slotsOfPlan(plan, { layerIds: moeLayers(model) });
  return writeSlotsFile(fillLayers(slots, model.layers), 'sglang');
}
