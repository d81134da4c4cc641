import { TensorRtLlmStatisticsInfo } from '@moestack/schemas';
import { checkLayerIds, type EngineLoad } from './engine-slots.js';
import { badFile, limits } from './limits.js';
import { parseJson, parseSchema } from './parse-text.js';
import { readSafetensors } from './safetensors.js';
import type { TorchTensor } from './torch-values.js';

/** Expert statistics of TensorRT-LLM, in tokens per expert. */
export interface TensorRtLlmStatistics {
  /** Sums over iterations and ranks; layers carry their index in the model. */
  readonly counts: EngineLoad;
  /** The same for each iteration, in order. */
  readonly iterations: readonly { readonly id: number; readonly counts: Float64Array }[];
  readonly expertsPerToken?: number;
}

/**
 * Reads what TensorRT-LLM writes to EXPERT_STATISTIC_PATH.
 *
 * @param files - `meta_info.json` and the `rank*.safetensors` by name. Of counts and raw choices (`*_raw.safetensors`)
 *   of the same run the counts are taken.
 */
export function readTensorRtLlmStatistics(
  files: Readonly<Record<string, Uint8Array>>,
): TensorRtLlmStatistics {
  const meta = files['meta_info.json'];
  if (meta === undefined)
    throw badFile('expected meta_info.json', Object.keys(files).slice(0, 8), 'pass it too');
  const info = parseSchema(
    TensorRtLlmStatisticsInfo,
    parseJson(meta, 'meta_info.json'),
    'statistics of TensorRT-LLM',
  );
  const ranks = Object.keys(files)
    .filter((name) => /^rank.*\.safetensors$/.test(name))
    .sort();
  const counted = ranks.filter((name) => !name.endsWith('_raw.safetensors'));
  const chosen = counted.length > 0 ? counted : ranks;
  if (chosen.length === 0)
    throw badFile('expected rank*.safetensors', Object.keys(files).slice(0, 8), 'pass them too');
  const sums = new Map<string, Float64Array>();
  for (const name of chosen) {
    for (const [key, tensor] of readSafetensors(files[name]!)) {
      const match = /^(\d{1,9})_(\d{1,5})$/.exec(key);
      if (match === null) {
        throw badFile(
          `expected tensors named ITERATION_LAYER in ${name}, got ${key.slice(0, 60)}`,
          key.slice(0, 60),
          'pass expert statistics',
        );
      }
      const id = `${Number(match[1])}_${Number(match[2])}`;
      const row = sums.get(id) ?? new Float64Array(info.num_experts);
      sums.set(id, row);
      addCounts(row, tensor, `${name}, ${key}`);
    }
  }
  return combine(sums, info);
}

function combine(
  sums: ReadonlyMap<string, Float64Array>,
  info: TensorRtLlmStatisticsInfo,
): TensorRtLlmStatistics {
  const experts = info.num_experts;
  const keys = [...sums.keys()].map((key) => key.split('_').map(Number) as [number, number]);
  const layerIds = ascending(keys.map(([, layer]) => layer));
  const ids = ascending(keys.map(([iteration]) => iteration));
  if (keys.length === 0 || keys.length !== layerIds.length * ids.length || layerIds.length > limits.layers) {
    throw badFile(
      `expected every layer in every iteration, got ${keys.length} tensors of ${layerIds.length} layers and ${ids.length} iterations`,
      keys.length,
      'pass the files of all ranks of one run',
    );
  }
  checkLayerIds(layerIds, layerIds.length);
  const total = new Float64Array(layerIds.length * experts);
  const iterations = ids.map((id) => {
    const counts = new Float64Array(total.length);
    for (const [row, layer] of layerIds.entries()) counts.set(sums.get(`${id}_${layer}`)!, row * experts);
    for (let i = 0; i < total.length; i++) total[i]! += counts[i]!;
    return { id, counts };
  });
  return {
    counts: { load: { layers: layerIds.length, experts, counts: total }, layerIds },
    iterations,
    ...(info.num_experts_per_token === undefined ? {} : { expertsPerToken: info.num_experts_per_token }),
  };
}

/** Adds a row of counts, or counts the experts that tokens chose. */
function addCounts(row: Float64Array, tensor: TorchTensor, where: string): void {
  const values = tensor.numbers();
  const experts = row.length;
  const isCounts = tensor.shape.length === 1 && values.length === experts;
  if (!isCounts && tensor.shape.length !== 2) {
    throw badFile(
      `expected ${experts} counts or [tokens, choices] in ${where}, got [${tensor.shape}]`,
      tensor.shape,
      'check num_experts of meta_info.json',
    );
  }
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (
      !(value >= 0 && value < Number.POSITIVE_INFINITY) ||
      (!isCounts && !(Number.isInteger(value) && value < experts))
    ) {
      throw badFile(
        `expected ${isCounts ? 'counts' : `experts below ${experts}`} in ${where}, got ${value}`,
        String(value),
        'pass expert statistics',
      );
    }
    if (isCounts) row[i]! += value;
    else row[value]! += 1;
  }
}

function ascending(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}
