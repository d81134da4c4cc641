import { SglangExpertLocation } from '@moestack/schemas';
import { decodeLoad, decodePlan, encodePlan } from '../placement-file.js';
import type { Plan } from '../types.js';
import { allLayers, type EngineLoad, type EngineSlots, slotsOfPlan } from './engine-slots.js';
import { badFile, checkFileSize, type EngineFileLimits } from './limits.js';
import { parseJson, parseSchema } from './parse-text.js';
import { sglangLocation, torchDict, writeSglangLocation, writeSglangLocationPt } from './sglang-location.js';
import { type SglangRecord, sglangRecord } from './sglang-record.js';
import { readTensorRtLlm, writeTensorRtLlm } from './tensorrt-llm.js';
import { vllmAscend, writeVllmAscend } from './vllm-ascend.js';
import { vllmState, writeVllmState } from './vllm-state.js';

/** Formats that plans are written in. */
export type PlanFormat = 'moestack' | 'sglang' | 'sglang-pt' | 'vllm' | 'vllm-ascend' | 'tensorrt-llm';

/** What a file of an engine, or of moestack, turned out to be. */
export type EngineFile =
  | {
      readonly kind: 'load';
      readonly format: 'moestack' | 'sglang';
      readonly counts: EngineLoad;
      readonly record?: SglangRecord;
    }
  | {
      readonly kind: 'slots';
      readonly format: PlanFormat;
      readonly slots: EngineSlots;
      readonly plan?: Plan;
    };

/** Detects what a file is by its content, and reads it. Statistics of TensorRT-LLM are a folder: see `readTensorRtLlmStatistics`. */
export async function readEngineFile(bytes: Uint8Array, options: EngineFileLimits = {}): Promise<EngineFile> {
  checkFileSize(bytes.length, options);
  // Zip archives begin with PK, the old format of torch.save with the PROTO opcode.
  if (bytes[0] === 0x50 || bytes[0] === 0x80) return torchFile(await torchDict(bytes, options));
  const first = bytes.find((byte) => byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09);
  if (first !== 0x7b) return { kind: 'slots', format: 'tensorrt-llm', slots: readTensorRtLlm(bytes).slots };
  return jsonFile(bytes);
}

/** Several dumps of the ranks of one recording, or one file. */
export async function readEngineFiles(
  files: readonly Uint8Array[],
  options: EngineFileLimits = {},
): Promise<EngineFile> {
  if (files.length === 1) return readEngineFile(files[0]!, options);
  const dicts: Map<unknown, unknown>[] = [];
  for (const bytes of files) dicts.push(await torchDict(bytes, options));
  const record = sglangRecord(dicts);
  return { kind: 'load', format: 'sglang', counts: record.counts, record };
}

function torchFile(fields: Map<unknown, unknown>): EngineFile {
  if (fields.has('records') || (fields.has('logical_count') && !fields.has('physical_to_logical_map'))) {
    const record = sglangRecord([fields]);
    return { kind: 'load', format: 'sglang', counts: record.counts, record };
  }
  const location = sglangLocation(fields);
  if ('slots' in location) return { kind: 'slots', format: 'sglang-pt', slots: location.slots };
  return { kind: 'load', format: 'sglang', counts: location.counts };
}

function jsonFile(bytes: Uint8Array): EngineFile {
  const data = parseJson(bytes, 'a file of an engine');
  const has = (key: string) => typeof data === 'object' && data !== null && Object.hasOwn(data, key);
  if (has('layer_list')) return { kind: 'slots', format: 'vllm-ascend', slots: vllmAscend(data) };
  if (has('logical_to_physical_map')) return { kind: 'slots', format: 'vllm', slots: vllmState(data) };
  if (has('physical_to_logical_map') || has('logical_count')) {
    const fields = parseSchema(SglangExpertLocation, data, 'an expert location of SGLang');
    const location = sglangLocation(new Map(Object.entries(fields)));
    if ('slots' in location) return { kind: 'slots', format: 'sglang', slots: location.slots };
    return { kind: 'load', format: 'sglang', counts: location.counts };
  }
  const text = new TextDecoder().decode(bytes);
  if (has('physicalToLogical')) {
    const plan = decodePlan(text);
    return { kind: 'slots', format: 'moestack', slots: slotsOfPlan(plan), plan };
  }
  if (has('counts')) {
    const load = decodeLoad(text);
    return { kind: 'load', format: 'moestack', counts: { load, layerIds: allLayers(load.layers) } };
  }
  throw badFile(
    'expected a file of SGLang, vLLM, vLLM-Ascend, TensorRT-LLM or moestack',
    typeof data === 'object' && data !== null ? Object.keys(data).slice(0, 8) : typeof data,
    'pass a recorder dump, an expert map, a load or a plan',
  );
}

/** Options of {@link writePlanFile}. */
export interface WritePlanOptions {
  /** Index in the model of each layer of the plan; default: all of them from 0. */
  readonly layerIds?: readonly number[];
  /** Of `sglang-pt`: folder inside the archive. */
  readonly name?: string;
  /** Of `tensorrt-llm`: layers that the engine may rearrange in an iteration; default 0. */
  readonly layerUpdatesPerIteration?: number;
}

/** The file of a plan in the format of an engine. */
export function writePlanFile(plan: Plan, format: PlanFormat, options: WritePlanOptions = {}): Uint8Array {
  if (format === 'moestack') return new TextEncoder().encode(encodePlan(plan));
  const { layerIds, name, layerUpdatesPerIteration } = options;
  return writeSlotsFile(slotsOfPlan(plan, layerIds === undefined ? {} : { layerIds }), format, {
    ...(name === undefined ? {} : { name }),
    ...(layerUpdatesPerIteration === undefined ? {} : { layerUpdatesPerIteration }),
  });
}

/** The file of slots in the format of an engine. */
export function writeSlotsFile(
  slots: EngineSlots,
  format: Exclude<PlanFormat, 'moestack'>,
  options: Omit<WritePlanOptions, 'layerIds'> = {},
): Uint8Array {
  const { name, layerUpdatesPerIteration = 0 } = options;
  switch (format) {
    case 'sglang':
      return writeSglangLocation(slots);
    case 'sglang-pt':
      return writeSglangLocationPt(slots, name === undefined ? {} : { name });
    case 'vllm':
      return writeVllmState(slots);
    case 'vllm-ascend':
      return writeVllmAscend(slots);
    case 'tensorrt-llm':
      return writeTensorRtLlm(slots, { layerUpdatesPerIteration });
    default:
      throw badFile(
        `unknown format ${String(format)}`,
        format,
        'use sglang, sglang-pt, vllm, vllm-ascend or tensorrt-llm',
      );
  }
}
