import { VllmAscendExpertMap } from '@moestack/schemas';
import { checkLayerIds, type EngineSlots, engineSlots } from './engine-slots.js';
import { badFile } from './limits.js';
import { rowsOf } from './number-grid.js';
import { parseJson, parseSchema } from './parse-text.js';

/** Reads the expert map of vLLM-Ascend. Layer ids count MoE layers, from 0. */
export function readVllmAscend(bytes: Uint8Array): EngineSlots {
  return vllmAscend(parseJson(bytes, 'an expert map'));
}

/** Slots from the data of the file. */
export function vllmAscend(data: unknown): EngineSlots {
  const map = parseSchema(VllmAscendExpertMap, data, 'an expert map of vLLM-Ascend');
  const layers = map.layer_list.length;
  if (layers !== map.moe_layer_count) {
    throw badFile(
      `expected ${map.moe_layer_count} layers in layer_list, got ${layers}`,
      layers,
      'list every MoE layer',
    );
  }
  const [{ device_count: gpus, device_list }] = map.layer_list as [(typeof map.layer_list)[number]];
  const slotsPerGpu = device_list[0]?.device_expert.length ?? 0;
  const slots: number[] = [];
  for (const layer of map.layer_list) {
    if (layer.device_count !== gpus || layer.device_list.length !== gpus) {
      throw badFile(
        `expected ${gpus} devices in layer ${layer.layer_id}, got ${layer.device_list.length}`,
        layer.device_list.length,
        'list the same devices in every layer',
      );
    }
    for (const [index, { device_id, device_expert }] of layer.device_list.entries()) {
      // The engine goes by position, people by id: a file in which they differ means two things.
      if (device_id !== index || device_expert.length !== slotsPerGpu || slotsPerGpu === 0) {
        throw badFile(
          `expected device ${index} with ${slotsPerGpu} experts in layer ${layer.layer_id}, got device ${device_id} with ` +
            `${device_expert.length}`,
          device_id,
          'list devices in order, each with as many experts',
        );
      }
      for (const expert of device_expert) slots.push(expert);
    }
  }
  const layerIds = map.layer_list.map(({ layer_id }) => layer_id);
  checkLayerIds(layerIds, layers);
  return engineSlots(slots, { layers, gpus, layerIds });
}

/** JSON of the expert map; layers are numbered from 0, whatever their index in the model. */
export function writeVllmAscend(slots: EngineSlots): Uint8Array {
  const { layers, replicas, physicalToLogical, gpus } = slots;
  if (gpus === undefined || replicas % gpus !== 0) {
    throw badFile(`expected slots of a number of GPUs that divides ${replicas}`, gpus, 'name the GPUs');
  }
  const devices = rowsOf(physicalToLogical, replicas / gpus);
  const map = {
    moe_layer_count: layers,
    layer_list: Array.from({ length: layers }, (_, layer) => ({
      layer_id: layer,
      device_count: gpus,
      device_list: devices
        .slice(layer * gpus, (layer + 1) * gpus)
        .map((device_expert, device_id) => ({ device_id, device_expert })),
    })),
  };
  return new TextEncoder().encode(JSON.stringify(map));
}
