import { VllmExpertState } from '@moestack/schemas';
import { type EngineSlots, engineSlots } from './engine-slots.js';
import { badFile, limits } from './limits.js';
import { readGrid, readIds, rowsOf } from './number-grid.js';
import { parseJson, parseSchema } from './parse-text.js';

/** Reads vLLM's expert maps; the reverse map and the counts, where given, must agree with the slots. */
export function readVllmState(bytes: Uint8Array): EngineSlots {
  return vllmState(parseJson(bytes, 'expert maps'));
}

/** Slots from the data of the file. */
export function vllmState(data: unknown): EngineSlots {
  const state = parseSchema(VllmExpertState, data, 'expert maps of vLLM');
  const name = 'physical_to_logical_map';
  const { shape, values } = readIds(state.physical_to_logical_map, {
    name,
    dimensions: [2],
    limit: limits.experts,
  });
  const slots = engineSlots(values, { layers: shape[0]! });
  const reverse = reverseMap(slots);
  const { logical_replica_count: counts, logical_to_physical_map: map } = state;
  if (counts !== undefined) {
    const given = readGrid(counts, { name: 'logical_replica_count', dimensions: [2] });
    if (
      given.values.length !== reverse.counts.length ||
      given.values.some((count, i) => count !== reverse.counts[i])
    ) {
      throw disagrees('logical_replica_count');
    }
  }
  if (map !== undefined) checkReverse(map, slots, reverse.counts);
  return slots;
}

/** JSON of vLLM's maps: slots ascend, -1 fills up to replicas - experts + 1 places. */
export function writeVllmState(slots: EngineSlots): Uint8Array {
  const { layers, experts, replicas, physicalToLogical } = slots;
  const width = replicas - experts + 1;
  const { counts, map } = reverseMap(slots, width);
  const nested = rowsOf(map, width);
  const state = {
    physical_to_logical_map: rowsOf(physicalToLogical, replicas),
    logical_to_physical_map: Array.from({ length: layers }, (_, l) =>
      nested.slice(l * experts, (l + 1) * experts),
    ),
    logical_replica_count: rowsOf(counts, experts),
  };
  return new TextEncoder().encode(JSON.stringify(state));
}

function reverseMap(slots: EngineSlots, width = 0): { counts: Int32Array; map: Int32Array } {
  const { layers, experts, replicas, physicalToLogical } = slots;
  const counts = new Int32Array(layers * experts);
  const map = new Int32Array(layers * experts * width).fill(-1);
  for (let i = 0; i < physicalToLogical.length; i++) {
    const expert = Math.floor(i / replicas) * experts + physicalToLogical[i]!;
    if (width > 0) map[expert * width + counts[expert]!] = i % replicas;
    counts[expert]! += 1;
  }
  return { counts, map };
}

/** Order and padding of the reverse map are the engine's own; the slots of each expert are not. */
function checkReverse(value: unknown, slots: EngineSlots, counts: Int32Array): void {
  const { layers, experts, replicas, physicalToLogical } = slots;
  const { shape, values } = readGrid(value, { name: 'logical_to_physical_map', dimensions: [3] });
  if (shape[0] !== layers || shape[1] !== experts) throw disagrees('logical_to_physical_map');
  const width = shape[2]!;
  for (let expert = 0; expert < layers * experts; expert++) {
    const layer = Math.floor(expert / experts);
    const listed = new Set<number>();
    for (let i = expert * width; i < (expert + 1) * width; i++) {
      const slot = values[i]!;
      if (slot < 0) continue;
      const held = slot < replicas ? physicalToLogical[layer * replicas + slot] : undefined;
      if (held !== expert % experts || listed.has(slot)) throw disagrees('logical_to_physical_map');
      listed.add(slot);
    }
    if (listed.size !== counts[expert]) throw disagrees('logical_to_physical_map');
  }
}

function disagrees(field: string): Error {
  return badFile(`expected ${field} to agree with physical_to_logical_map`, field, 'pass maps of one state');
}
