import { gpuLoads } from '../gpu-loads.js';
import type { RoutingShape } from '../locality.js';
import { planMigration, type SlotTransfer, type TransferKind } from '../migration.js';
import { MigrationSchedule, type MigrationScheduleOptions } from '../migration-schedule.js';
import { type PlanReport, reportPlan } from '../plan-report.js';
import type { Load, Plan } from '../types.js';

/** Options of {@link evaluatePlan}. */
export interface EvaluatePlanOptions extends RoutingShape, Omit<MigrationScheduleOptions, 'expertBytes'> {
  /** Weights of one expert of one layer; default 44,050,944 (DeepSeek-V3 in FP8 with its scales). */
  readonly expertBytes?: number;
  /** The plan in force, from which the migration leads. */
  readonly previous?: Plan;
}

/** What moves, and how long it takes. */
export interface MigrationSummary {
  /** Replicas that GPUs receive. */
  readonly received: number;
  /** The same as a share of all replicas of all layers. */
  readonly share: number;
  readonly transfers: Readonly<Record<TransferKind, number>>;
  readonly bytes: number;
  readonly layers: readonly LayerMigration[];
  /** Steps of the schedule, and the longest of them. */
  readonly steps: number;
  readonly longestStepSeconds: number;
  readonly seconds: number;
}

/** When a layer migrates, if layers go one by one. */
export interface LayerMigration {
  readonly layer: number;
  readonly transfers: number;
  readonly startSeconds: number;
  readonly endSeconds: number;
}

/** A plan with all its figures under a load. */
export interface PlanEvaluation {
  readonly plan: Plan;
  /** [layers, gpus] */
  readonly loads: Float64Array;
  readonly report: PlanReport;
  /** Against `previous`. */
  readonly migration?: MigrationSummary;
}

/** DeepSeek-V3: three projections of 7168 x 2048 in FP8, and a float32 scale for every 128 x 128. */
const DEFAULT_EXPERT_BYTES = 44_050_944;

/** Loads, bounds, copies between nodes and, from a plan in force, the migration of a plan. */
export function evaluatePlan(load: Load, plan: Plan, options: EvaluatePlanOptions = {}): PlanEvaluation {
  const { previous, topK, topKGroups } = options;
  const shape: RoutingShape = {
    ...(topK === undefined ? {} : { topK }),
    ...(topKGroups === undefined ? {} : { topKGroups }),
  };
  return {
    plan,
    loads: gpuLoads(load, plan),
    report: reportPlan(load, plan, shape),
    ...(previous === undefined ? {} : { migration: summarize(previous, plan, options) }),
  };
}

function summarize(previous: Plan, plan: Plan, options: EvaluatePlanOptions): MigrationSummary {
  const {
    expertBytes = DEFAULT_EXPERT_BYTES,
    intraNodeGBps = 160,
    interNodeGBps = 50,
    maxStallSeconds,
  } = options;
  const migration = planMigration(previous, plan);
  const schedule = new MigrationSchedule(migration, {
    expertBytes,
    intraNodeGBps,
    interNodeGBps,
    ...(maxStallSeconds === undefined ? {} : { maxStallSeconds }),
  });
  const transfers: Record<TransferKind, number> = { sameGpu: 0, sameNode: 0, remote: 0 };
  for (const { kind } of migration.transfers) transfers[kind]++;
  const rates = {
    sameGpu: 0,
    sameNode: expertBytes / (intraNodeGBps * 1e9),
    remote: expertBytes / (interNodeGBps * 1e9),
  };
  const layers = layerTimes(migration.transfers, plan, rates);
  return {
    received: migration.received,
    share: migration.received / plan.physicalToLogical.length,
    transfers,
    bytes: (transfers.sameNode + transfers.remote) * expertBytes,
    layers,
    steps: schedule.steps.filter((step) => step.transfers.length > 0).length,
    longestStepSeconds: schedule.steps.reduce((longest, step) => Math.max(longest, step.seconds), 0),
    seconds: layers.at(-1)?.endSeconds ?? 0,
  };
}

/** Layers one after another, each as long as the GPU that receives most. */
function layerTimes(
  transfers: readonly SlotTransfer[],
  { layers, deployment }: Plan,
  seconds: Readonly<Record<TransferKind, number>>,
): LayerMigration[] {
  const slotsPerGpu = deployment.replicas / deployment.gpus;
  const busy = new Float64Array(layers * deployment.gpus);
  const counts = new Int32Array(layers);
  for (const { layer, slot, kind } of transfers) {
    busy[layer * deployment.gpus + Math.floor(slot / slotsPerGpu)]! += seconds[kind];
    counts[layer]!++;
  }
  let end = 0;
  return Array.from(counts, (count, layer) => {
    const startSeconds = end;
    end += busy
      .subarray(layer * deployment.gpus, (layer + 1) * deployment.gpus)
      .reduce((a, b) => Math.max(a, b), 0);
    return { layer, transfers: count, startSeconds, endSeconds: end };
  });
}
