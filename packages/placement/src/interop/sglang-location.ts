import { SglangExpertLocation } from '@moestack/schemas';
import { checkDeployment } from '../operands.js';
import { allLayers, type EngineLoad, type EngineSlots, engineSlots } from './engine-slots.js';
import { badFile, type EngineFileLimits, limits } from './limits.js';
import { readCounts, readIds, rowsOf } from './number-grid.js';
import { parseJson, parseSchema } from './parse-text.js';
import { readTorchFile, writeTorchFile } from './torch-file.js';
import { TorchTensor } from './torch-values.js';

/** What `--init-expert-location` of SGLang names: slots, or counts to plan from. */
export type SglangLocation = { readonly slots: EngineSlots } | { readonly counts: EngineLoad };

/** Reads the file, JSON or `.pt`, that `--init-expert-location` takes. Counts of steps are summed. */
export async function readSglangLocation(
  bytes: Uint8Array,
  options: EngineFileLimits = {},
): Promise<SglangLocation> {
  if (bytes[0] === 0x50) return sglangLocation(await torchDict(bytes, options));
  const json = parseSchema(
    SglangExpertLocation,
    parseJson(bytes, 'an expert location'),
    'an expert location of SGLang',
  );
  return sglangLocation(new Map(Object.entries(json)));
}

/** The fields of a `.pt` file. */
export async function torchDict(
  bytes: Uint8Array,
  options: EngineFileLimits,
): Promise<Map<unknown, unknown>> {
  const value = await readTorchFile(bytes, options);
  if (value instanceof Map) return value;
  throw badFile('expected a dict in the file', typeof value, 'pass a file that SGLang wrote');
}

/** A location from the fields of its file; as in SGLang, a map goes before counts. */
export function sglangLocation(fields: ReadonlyMap<unknown, unknown>): SglangLocation {
  const map = fields.get('physical_to_logical_map');
  if (map !== undefined) {
    const name = 'physical_to_logical_map';
    const { shape, values } = readIds(map, { name, dimensions: [2], limit: limits.experts });
    return { slots: engineSlots(values, { layers: checkLayers(shape[0]!) }) };
  }
  const counts = fields.get('logical_count');
  if (counts === undefined) {
    throw badFile(
      'expected physical_to_logical_map or logical_count',
      [...fields.keys()].slice(0, 8).map(String),
      'pass a map, or a dump of the recorder in stat mode',
    );
  }
  return { counts: sumSteps(counts).counts };
}

/** Counts summed over the steps of the recorder's buffer, and how many steps were used: the others are zero rows. */
export function sumSteps(value: unknown): { counts: EngineLoad; steps: number } {
  const { shape, values } = readCounts(value, { name: 'logical_count', dimensions: [2, 3] });
  const experts = shape[shape.length - 1]!;
  const layers = checkLayers(shape[shape.length - 2]!);
  if (experts > limits.experts)
    throw badFile(`expected at most ${limits.experts} experts`, experts, 'check the file');
  const n = layers * experts;
  const sums = new Float64Array(n);
  let steps = 0;
  for (let first = 0; first < values.length; first += n) {
    let used = false;
    for (let i = 0; i < n; i++) {
      const count = values[first + i]!;
      sums[i]! += count;
      used ||= count > 0;
    }
    if (used) steps++;
  }
  return { counts: { load: { layers, experts, counts: sums }, layerIds: allLayers(layers) }, steps };
}

function checkLayers(layers: number): number {
  if (layers <= limits.layers) return layers;
  throw badFile(`expected at most ${limits.layers} layers, got ${layers}`, layers, 'check the file');
}

/**
 * JSON for `--init-expert-location`. SGLang wants a row for every layer of the model, dense ones too; see `fillLayers`.
 */
export function writeSglangLocation(slots: EngineSlots): Uint8Array {
  checkSglangSlots(slots);
  const map = rowsOf(slots.physicalToLogical, slots.replicas);
  return new TextEncoder().encode(JSON.stringify({ physical_to_logical_map: map }));
}

/** The same as a `.pt` file; `name` is that of the folder inside, for PyTorch the file's name without `.pt`. */
export function writeSglangLocationPt(slots: EngineSlots, options: { name?: string } = {}): Uint8Array {
  checkSglangSlots(slots);
  const data = BigInt64Array.from(slots.physicalToLogical, BigInt);
  const map = new TorchTensor('i64', [slots.layers, slots.replicas], data);
  return writeTorchFile(new Map([['physical_to_logical_map', map]]), options);
}

/**
 * What SGLang asserts of a map when it starts: every layer of the model from 0 on, replicas a multiple of the ranks,
 * every expert present.
 *
 * @throws PlacementError `placement/bad-file` or `placement/bad-config`.
 */
export function checkSglangSlots(slots: EngineSlots): void {
  const { layers, experts, replicas, physicalToLogical, layerIds, gpus } = slots;
  if (layerIds.some((id, row) => id !== row)) {
    throw badFile(
      `expected every layer of the model from 0 on, got ${layerIds.slice(0, 4)} ...`,
      layerIds.slice(0, 4),
      'use fillLayers with the number of layers of the model',
    );
  }
  checkDeployment(layers, experts, { nodes: 1, gpus: gpus ?? 1, replicas });
  engineSlots(physicalToLogical, { layers, experts });
}
