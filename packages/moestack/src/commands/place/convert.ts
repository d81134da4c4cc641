import { encodeLoad } from '@moestack/placement';
import {
  type EngineSlots,
  fillLayers,
  type PlanFormat,
  planOfSlots,
  writePlanFile,
  writeSlotsFile,
} from '@moestack/placement/interop';
import { readEnginePaths } from '@moestack/placement/interop/node';
import { CliError } from '../../errors.js';
import type { Reporter } from '../../reporter.js';
import { checkOutput } from '../fp8/output-file.js';
import { countsOf } from './load-input.js';
import { stemOf, writeBytes } from './write-bytes.js';

/** Options of `moestack place convert`. */
export interface ConvertPlanOptions {
  readonly format?: PlanFormat;
  readonly gpus?: number;
  readonly nodes?: number;
  readonly groups?: number;
  readonly modelLayers?: number;
  readonly firstLayer?: number;
}

/** Writes an expert map in another format; recorded load becomes a load of moestack. */
export async function convertPlan(
  from: string,
  to: string,
  options: ConvertPlanOptions,
  reporter: Reporter,
): Promise<void> {
  const { format = 'moestack' } = options;
  await checkOutput(to);
  const file = await readEnginePaths([from]);
  const counts = countsOf(file);
  if (counts !== undefined) {
    if (format !== 'moestack')
      throw badOptions(`cannot write load as ${format}`, 'use "moestack place plan" to plan from it');
    const { load } = counts;
    await writeBytes(to, new TextEncoder().encode(encodeLoad(load)));
    const { layers, experts } = load;
    reporter.result({ event: 'converted', from, to, kind: 'load', layers, experts }, [
      `${to}: load of ${layers} layers, ${experts} experts`,
    ]);
    return;
  }
  if (file.kind !== 'slots') throw badOptions(`cannot convert ${from}`, 'pass a map or load');
  const slots = adjust(file.slots, options);
  await writeBytes(to, encode(slots, { ...options, format }, to));
  const { layers, experts, replicas } = slots;
  reporter.result(
    { event: 'converted', from, to, kind: 'plan', read: file.format, format, layers, experts, replicas },
    [
      `${to}: ${format} of ${layers} layers, ${experts} experts in ${replicas} slots (read as ${file.format})`,
    ],
  );
}

function adjust(
  slots: EngineSlots,
  { gpus, firstLayer = 0, modelLayers, format }: ConvertPlanOptions,
): EngineSlots {
  const moved = {
    ...slots,
    layerIds: slots.layerIds.map((id) => id + firstLayer),
    ...(gpus === undefined ? {} : { gpus }),
  };
  const isSglang = format === 'sglang' || format === 'sglang-pt';
  return isSglang && modelLayers !== undefined ? fillLayers(moved, modelLayers) : moved;
}

function encode(
  slots: EngineSlots,
  options: ConvertPlanOptions & { format: PlanFormat },
  to: string,
): Uint8Array {
  const { format, nodes = 1, groups } = options;
  if (format !== 'moestack') return writeSlotsFile(slots, format, { name: stemOf(to) });
  if (slots.gpus === undefined)
    throw badOptions('expected --gpus, since the map does not tell', 'name the GPUs');
  const plan = planOfSlots(slots, { nodes, gpus: slots.gpus, ...(groups === undefined ? {} : { groups }) });
  return writePlanFile(plan, format);
}

function badOptions(message: string, remedy: string): CliError {
  return new CliError({ code: 'cli/bad-options', message, remedy });
}
