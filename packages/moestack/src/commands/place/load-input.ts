import { type Deployment, initialPlan, type Load, type Plan } from '@moestack/placement';
import {
  activeLayers,
  type EngineLoad,
  type EngineSlots,
  planOfSlots,
  selectLayers,
} from '@moestack/placement/interop';
import { type EnginePath, readEnginePaths } from '@moestack/placement/interop/node';
import { CliError } from '../../errors.js';

/** Recorded load, ready to plan from. */
export interface LoadInput {
  /** Layers with tokens only. */
  readonly load: Load;
  /** Index in the model of each of them. */
  readonly layerIds: readonly number[];
  /** Layers recorded, dense ones too. */
  readonly recordedLayers: number;
  /** What it was: `SGLang, 1000 steps`. */
  readonly source: string;
}

/** Reads recorded load and leaves layers without tokens out. */
export async function readLoad(files: readonly string[], firstLayer = 0): Promise<LoadInput> {
  const file = await readEnginePaths(files);
  const counts = countsOf(file);
  if (counts === undefined) {
    throw new CliError({
      code: 'cli/bad-input',
      message: `expected recorded load in ${files[0]}, got an expert map`,
      value: files[0],
      remedy: 'pass a recorder dump, counts or statistics; use "moestack place convert" for maps',
    });
  }
  const active = activeLayers(counts.load);
  if (active.length === 0) {
    throw new CliError({
      code: 'cli/bad-input',
      message: `expected tokens in ${files[0]}, got zeros in all ${counts.load.layers} layers`,
      value: files[0],
      remedy: 'record while requests are served',
    });
  }
  const { load, layerIds } = selectLayers(counts, active);
  return {
    load,
    layerIds: layerIds.map((id) => id + firstLayer),
    recordedLayers: counts.layerIds.at(-1)! + 1 + firstLayer,
    source: describe(file),
  };
}

/** Counts of a file; undefined when it holds a map. */
export function countsOf(file: EnginePath): EngineLoad | undefined {
  if (file.kind === 'statistics') return file.statistics.counts;
  return file.kind === 'load' ? file.counts : undefined;
}

function describe(file: EnginePath): string {
  if (file.kind === 'statistics')
    return `TensorRT-LLM, ${counted(file.statistics.iterations.length, 'iteration')}`;
  if (file.format === 'moestack') return 'moestack load';
  const record = file.kind === 'load' ? file.record : undefined;
  if (record === undefined) return 'SGLang counts';
  return `SGLang ${record.mode}, ${record.mode === 'stat' ? counted(record.steps, 'step') : counted(record.steps, 'forward pass', 'es')}`;
}

function counted(count: number, noun: string, plural = 's'): string {
  return `${count} ${noun}${count === 1 ? '' : plural}`;
}

/** The map in force that a file holds, for the layers that were recorded. */
export async function readPreviousSlots(path: string, input: LoadInput): Promise<EngineSlots> {
  const { load, layerIds, recordedLayers } = input;
  const file = await readEnginePaths([path]);
  if (file.kind !== 'slots') throw mismatch(path, 'it holds no expert map');
  const hasIds = file.format === 'sglang' || file.format === 'sglang-pt' || file.format === 'tensorrt-llm';
  const slots = selectRows(path, file.slots, { layerIds, recordedLayers, hasIds });
  if (slots.experts === load.experts) return slots;
  throw mismatch(path, `it has ${slots.experts} experts, the load ${load.experts}`);
}

/** The plan in force: of a map, or expert i % E in slot i. */
export function previousPlan(
  slots: EngineSlots | undefined,
  { load }: LoadInput,
  deployment: Deployment,
): Plan {
  if (slots === undefined) return initialPlan(load.layers, load.experts, deployment);
  if (slots.replicas !== deployment.replicas) {
    throw mismatch(
      'the previous plan',
      `it has ${slots.replicas} slots, the deployment ${deployment.replicas}`,
    );
  }
  const { nodes, gpus, groups } = deployment;
  return planOfSlots(slots, { nodes, gpus, ...(groups === undefined ? {} : { groups }) });
}

/**
 * Rows of the layers that were recorded. Some formats name layers of the model; rows of the others are the MoE layers, or
 * all layers of the recording.
 */
function selectRows(
  path: string,
  slots: EngineSlots,
  {
    layerIds,
    recordedLayers,
    hasIds,
  }: { layerIds: readonly number[]; recordedLayers: number; hasIds: boolean },
): EngineSlots {
  const { replicas, physicalToLogical } = slots;
  if (!hasIds && slots.layers === layerIds.length) return { ...slots, layerIds };
  const byId = layerIds.map((id) => slots.layerIds.indexOf(id));
  if (byId.includes(-1) || (!hasIds && slots.layers !== recordedLayers)) {
    const recorded = `${layerIds.length} layers, ${layerIds[0]} to ${layerIds.at(-1)}`;
    throw mismatch(
      path,
      `it has ${slots.layers} layers from ${slots.layerIds[0]} on, the load tokens in ${recorded}`,
    );
  }
  const selected = new Int32Array(layerIds.length * replicas);
  for (const [i, row] of byId.entries()) {
    selected.set(physicalToLogical.subarray(row * replicas, (row + 1) * replicas), i * replicas);
  }
  return { ...slots, layers: layerIds.length, layerIds, physicalToLogical: selected };
}

function mismatch(path: string, what: string): CliError {
  return new CliError({
    code: 'cli/bad-input',
    message: `cannot start from ${path}: ${what}`,
    value: path,
    remedy: 'pass the plan of the same model and deployment; --first-layer names the first layer recorded',
  });
}
