import { checkDeployment } from '../operands.js';
import { planExperts, planFromSlots } from '../plan.js';
import type { Deployment, Load, Plan } from '../types.js';
import { badFile } from './limits.js';

/** Which logical expert each physical slot holds, as an engine's file says it: a plan without its machine. */
export interface EngineSlots {
  readonly layers: number;
  readonly experts: number;
  readonly replicas: number;
  /** [layers, replicas] */
  readonly physicalToLogical: Int32Array;
  /** Index in the model of each layer; ascending. */
  readonly layerIds: readonly number[];
  /** GPUs, where the file tells. */
  readonly gpus?: number;
}

/** Token counts of an engine's file with the model's layers they belong to. */
export interface EngineLoad {
  readonly load: Load;
  /** Index in the model of each layer; ascending. */
  readonly layerIds: readonly number[];
}

/** Layers 0 .. n-1. */
export function allLayers(layers: number): number[] {
  return Array.from({ length: layers }, (_, layer) => layer);
}

/**
 * Checks slots as the engines do: ids in range, and every expert in every layer.
 *
 * @param map - [layers, replicas], row-major.
 */
export function engineSlots(
  map: ArrayLike<number>,
  options: { layers: number; experts?: number; layerIds?: readonly number[]; gpus?: number },
): EngineSlots {
  const { layers, layerIds = allLayers(layers), gpus } = options;
  const replicas = map.length / layers;
  const physicalToLogical = Int32Array.from(map);
  const experts = options.experts ?? physicalToLogical.reduce((most, id) => Math.max(most, id), -1) + 1;
  const seen = new Uint8Array(Math.max(1, Math.min(experts, replicas)));
  for (let layer = 0; layer < layers; layer++) {
    seen.fill(0);
    let found = 0;
    for (let slot = layer * replicas; slot < (layer + 1) * replicas; slot++) {
      const expert = physicalToLogical[slot]!;
      if (expert < 0 || expert >= experts) {
        throw badFile(
          `expected experts 0 to ${experts - 1} in layer ${layer}, got ${expert}`,
          expert,
          'check the map',
        );
      }
      if (experts > replicas || seen[expert] === 1) continue;
      seen[expert] = 1;
      found++;
    }
    if (found !== experts) {
      throw badFile(
        `expected every one of ${experts} experts in layer ${layer}, got ${found} in ${replicas} slots`,
        found,
        'give every expert a slot in every layer',
      );
    }
  }
  return { layers, experts, replicas, physicalToLogical, layerIds, ...(gpus === undefined ? {} : { gpus }) };
}

/** The plan that slots stand for on a machine. */
export function planOfSlots(slots: EngineSlots, deployment: Omit<Deployment, 'replicas'>): Plan {
  const { layers, experts, replicas, physicalToLogical } = slots;
  return planFromSlots(physicalToLogical, { layers, experts, deployment: { ...deployment, replicas } });
}

/** The slots of a plan, ready for an engine's file. */
export function slotsOfPlan(plan: Plan, { layerIds }: { layerIds?: readonly number[] } = {}): EngineSlots {
  const { layers, deployment, physicalToLogical } = plan;
  const experts = planExperts(plan);
  const { gpus } = checkDeployment(layers, experts, deployment);
  if (layerIds !== undefined) checkLayerIds(layerIds, layers);
  return engineSlots(physicalToLogical, {
    layers,
    experts,
    gpus,
    ...(layerIds === undefined ? {} : { layerIds }),
  });
}

/** @throws PlacementError `placement/bad-file` unless ids ascend, one for each layer. */
export function checkLayerIds(layerIds: readonly number[], layers: number): void {
  const ascend = layerIds.every(
    (id, i) => Number.isSafeInteger(id) && id > (i === 0 ? -1 : layerIds[i - 1]!),
  );
  if (layerIds.length === layers && ascend) return;
  throw badFile(
    `expected ${layers} ascending layer ids, got ${layerIds.length}`,
    layerIds.slice(0, 8),
    'name the index in the model of each layer',
  );
}

/** Indices of the layers that routed any token: dense layers and those of other ranks are rows of zeros. */
export function activeLayers({ layers, experts, counts }: Load): number[] {
  return allLayers(layers).filter((layer) =>
    counts.subarray(layer * experts, (layer + 1) * experts).some((count) => count > 0),
  );
}

/** Some layers of a load. */
export function selectLayers({ load, layerIds }: EngineLoad, layers: readonly number[]): EngineLoad {
  const { experts, counts } = load;
  const selected = new Float64Array(layers.length * experts);
  for (const [i, layer] of layers.entries()) {
    selected.set(counts.subarray(layer * experts, (layer + 1) * experts), i * experts);
  }
  return {
    load: { layers: layers.length, experts, counts: selected },
    layerIds: layers.map((layer) => layerIds[layer]!),
  };
}

/**
 * Slots of every layer of a model: layers without a plan (dense ones) hold expert i % experts in slot i, as engines do
 * without statistics.
 */
export function fillLayers(slots: EngineSlots, modelLayers: number): EngineSlots {
  const { experts, replicas, physicalToLogical, layerIds } = slots;
  if (!(modelLayers > layerIds[layerIds.length - 1]!) || modelLayers > 65_536) {
    throw badFile(
      `expected a model of more than ${layerIds[layerIds.length - 1]} layers, got ${modelLayers}`,
      modelLayers,
      'pass the number of all layers of the model, dense ones too',
    );
  }
  const filled = new Int32Array(modelLayers * replicas);
  for (let i = 0; i < filled.length; i++) filled[i] = (i % replicas) % experts;
  for (const [row, layer] of layerIds.entries()) {
    filled.set(physicalToLogical.subarray(row * replicas, (row + 1) * replicas), layer * replicas);
  }
  return { ...slots, layers: modelLayers, physicalToLogical: filled, layerIds: allLayers(modelLayers) };
}
