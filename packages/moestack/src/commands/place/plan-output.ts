import type { Plan } from '@moestack/placement';
import {
  fillLayers,
  type PlanFormat,
  slotsOfPlan,
  writePlanFile,
  writeSlotsFile,
} from '@moestack/placement/interop';
import type { PlanEvaluation } from '@moestack/placement/report';
import { stemOf, writeBytes } from './write-bytes.js';

/** Where a plan goes. */
export interface PlanTarget {
  readonly path: string;
  readonly format: PlanFormat;
  readonly layerIds: readonly number[];
  /** All layers of the model, for formats that want dense ones too. */
  readonly modelLayers: number;
}

/** Writes a plan for an engine: SGLang gets every layer of the model, the others their MoE layers. */
export async function writePlan(
  plan: Plan,
  { path, format, layerIds, modelLayers }: PlanTarget,
): Promise<void> {
  const name = stemOf(path);
  if (format === 'sglang' || format === 'sglang-pt') {
    const slots = fillLayers(slotsOfPlan(plan, { layerIds }), modelLayers);
    return writeBytes(path, writeSlotsFile(slots, format, { name }));
  }
  await writeBytes(path, writePlanFile(plan, format, { layerIds, name }));
}

/** Figures of an evaluation for `--json`. */
export function figures({ report, migration }: PlanEvaluation): Record<string, unknown> {
  return {
    highestOverMean: 1 + report.balance.maxViolation,
    worstLayer: 1 + report.balance.worstViolation,
    gap: report.gap,
    worstGap: report.worstGap,
    balancednessSglang: report.balance.meanOfRatios,
    balancednessVllm: report.balance.ratioOfSums,
    internodeCopies: report.internodeCopies,
    duplicates: report.duplicates,
    ...(migration === undefined
      ? {}
      : {
          moved: migration.received,
          movedShare: migration.share,
          movedBytes: migration.bytes,
          longestStepSeconds: migration.longestStepSeconds,
        }),
  };
}

/** Titles of {@link row}. */
export const header: readonly string[] = [
  '<plan',
  'highest/mean',
  'worst layer',
  'gap to bound',
  'worst gap',
  'node copies',
  'moved',
  'GB',
  'longest step',
];

/** A row of figures for people. */
export function row(name: string, { report, migration }: PlanEvaluation): string[] {
  const { maxViolation, worstViolation } = report.balance;
  return [
    name,
    (1 + maxViolation).toFixed(4),
    (1 + worstViolation).toFixed(4),
    `${(100 * report.gap).toFixed(2)}%`,
    `${(100 * report.worstGap).toFixed(2)}%`,
    report.internodeCopies.toFixed(3),
    migration === undefined ? '-' : `${(100 * migration.share).toFixed(1)}%`,
    migration === undefined ? '-' : (migration.bytes / 1e9).toFixed(1),
    migration === undefined ? '-' : `${(1000 * migration.longestStepSeconds).toFixed(1)} ms`,
  ];
}
