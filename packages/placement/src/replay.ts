import { eplb } from './eplb.js';
import { addGpuLoads } from './gpu-loads.js';
import { IncrementalPlanner } from './incremental.js';
import { LoadForecast } from './load-forecast.js';
import { MigrationCounter } from './migration-count.js';
import { badConfig, badShape, checkDeployment, positiveInteger, type Sizes } from './operands.js';
import { optimal } from './optimal.js';
import { initialPlan, rankLayer } from './plan.js';
import type { Deployment, Plan } from './types.js';

/** Expert load by the minute: counts [minutes, layers, experts]. */
export interface LoadTrace {
  readonly minutes: number;
  readonly layers: number;
  readonly experts: number;
  readonly counts: Uint16Array | Uint32Array | Int32Array | Float64Array;
}

/** A deployment with what moving an expert costs. */
export interface ReplayDeployment extends Deployment {
  /** Weights of one expert of one layer. */
  readonly expertBytes: number;
  /** MoE layers of the model that the trace's layers stand for; default 58. */
  readonly modelLayers?: number;
  /** Default 160. */
  readonly intraNodeGBps?: number;
  /** Default 50. */
  readonly interNodeGBps?: number;
}

/** Options of {@link replay}. */
export interface ReplayOptions {
  /** `none` keeps slot i on expert i % experts; `eplb` makes a full plan from the last 10 minutes; `incremental` adjusts the plan in force. */
  policy: 'none' | 'eplb' | 'incremental';
  /** Minutes between plans; default 10 for `eplb`, 1 for `incremental`. */
  everyMinutes?: number;
  /**
   * As in `rebalance`, for `incremental`. Default Infinity, since the score knows nothing of traffic between nodes: pass 0
   * to see what keeping every expert on its node costs.
   */
  localityBudget?: number;
}

/** What a policy achieved on a trace, from minute 10 on. */
export interface ReplayResult {
  /** efficiency - 0.02 x migrated. */
  readonly score: number;
  /** Sum of mean GPU loads over the sum of maximum GPU loads, over minutes and layers. */
  readonly efficiency: number;
  /** Replicas received by GPUs per ten minutes, as a share of all replicas. */
  readonly migrated: number;
  /** Longest time that one plan's transfers take when all layers stop for them. */
  readonly largestStallSeconds: number;
}

/** The first plan is made when this many minutes have been seen, and EPLB looks back as far. */
const WARM_UP_MINUTES = 10;
const MIGRATION_WEIGHT = 0.02;

/**
 * Runs a placement policy over recorded load, minute by minute: each plan sees only earlier minutes, and serves until
 * the next. The first plan, at minute 10, is not charged for migration.
 */
export function replay(trace: LoadTrace, deployment: ReplayDeployment, options: ReplayOptions): ReplayResult {
  const run = new Replay(trace, deployment, options);
  for (let minute = 0; minute < trace.minutes; minute++) run.minute(minute);
  return run.result();
}

class Replay {
  readonly #trace: LoadTrace;
  readonly #sizes: Sizes;
  readonly #deployment: Deployment;
  readonly #policy: ReplayOptions['policy'];
  readonly #every: number;
  readonly #localityBudget: number;
  readonly #counter: MigrationCounter;
  readonly #intraSeconds: number;
  readonly #interSeconds: number;
  readonly #modelLayers: number;
  readonly #loads: Float64Array;
  readonly #estimate: Float64Array;
  readonly #forecast: LoadForecast | undefined;
  readonly #planner: IncrementalPlanner | undefined;
  #plan: Plan;
  #sumOfMeans = 0;
  #sumOfMaxima = 0;
  #received = 0;
  #largestStallSeconds = 0;

  constructor(trace: LoadTrace, deployment: ReplayDeployment, options: ReplayOptions) {
    const { minutes, layers, experts, counts } = trace;
    positiveInteger('trace.minutes', minutes);
    const { nodes, gpus, replicas, groups } = deployment;
    this.#deployment = { nodes, gpus, replicas, ...(groups === undefined ? {} : { groups }) };
    this.#sizes = checkDeployment(layers, experts, this.#deployment);
    if (counts.length !== minutes * layers * experts) {
      throw badShape(
        `expected ${minutes} x ${layers} x ${experts} counts, got ${counts.length}`,
        counts.length,
        'pass counts of every minute, layer and expert',
      );
    }
    for (let i = 0; i < counts.length; i++) {
      if (!(counts[i]! >= 0 && counts[i]! < Number.POSITIVE_INFINITY)) {
        throw badShape(
          `expected finite counts of at least 0, got ${counts[i]} at ${i}`,
          String(counts[i]),
          'pass token counts',
        );
      }
    }
    const { policy } = options;
    if (policy !== 'none' && policy !== 'eplb' && policy !== 'incremental') {
      throw badConfig(`unknown policy ${String(policy)}`, policy, 'use none, eplb or incremental');
    }
    this.#trace = trace;
    this.#policy = policy;
    this.#every = positiveInteger(
      'everyMinutes',
      options.everyMinutes ?? (policy === 'incremental' ? 1 : 10),
    );
    this.#localityBudget = options.localityBudget ?? Number.POSITIVE_INFINITY;
    if (!(this.#localityBudget >= 0)) {
      throw badConfig(
        'expected a localityBudget of at least 0',
        String(options.localityBudget),
        'pass a fraction or Infinity',
      );
    }
    const { expertBytes, modelLayers = 58, intraNodeGBps = 160, interNodeGBps = 50 } = deployment;
    for (const [name, value] of Object.entries({ expertBytes, modelLayers, intraNodeGBps, interNodeGBps })) {
      if (!(value > 0 && value < Number.POSITIVE_INFINITY)) {
        throw badConfig(`expected a positive ${name}, got ${value}`, String(value), `pass ${name}`);
      }
    }
    this.#intraSeconds = expertBytes / (intraNodeGBps * 1e9);
    this.#interSeconds = expertBytes / (interNodeGBps * 1e9);
    this.#modelLayers = modelLayers;
    this.#counter = new MigrationCounter(this.#sizes);
    this.#loads = new Float64Array(gpus);
    this.#estimate = new Float64Array(layers * experts);
    this.#plan = initialPlan(layers, experts, this.#deployment);
    if (policy === 'incremental') {
      this.#forecast = new LoadForecast(layers, experts, this.#every);
      this.#planner = new IncrementalPlanner(this.#sizes);
    }
  }

  minute(minute: number): void {
    const { layers, experts, counts } = this.#trace;
    const first = minute * layers * experts;
    if (minute >= WARM_UP_MINUTES) {
      const due = (minute - WARM_UP_MINUTES) % this.#every === 0;
      if (due && this.#policy !== 'none') this.#replan(minute);
      this.#measure(first);
    }
    this.#forecast?.observe(counts.subarray(first, first + layers * experts));
  }

  #replan(minute: number): void {
    const before = this.#plan;
    this.#plan = this.#policy === 'eplb' ? this.#eplb(minute) : this.#adjust(minute);
    if (minute > WARM_UP_MINUTES) this.#charge(before, this.#plan);
  }

  #eplb(minute: number): Plan {
    const { layers, experts, counts } = this.#trace;
    const n = layers * experts;
    const sums = this.#estimate.fill(0);
    for (let m = minute - WARM_UP_MINUTES; m < minute; m++) {
      for (let i = 0; i < n; i++) sums[i]! += counts[m * n + i]!;
    }
    return eplb({ layers, experts, counts: sums }, this.#deployment, this.#sizes, 'torch');
  }

  #adjust(minute: number): Plan {
    const { layers, experts } = this.#trace;
    const { replicas } = this.#sizes;
    this.#forecast!.forecastInto(this.#estimate);
    if (minute === WARM_UP_MINUTES) {
      return optimal({ layers, experts, counts: this.#estimate }, this.#deployment, this.#sizes, {
        previous: undefined,
        localityBudget: this.#localityBudget,
      });
    }
    const plan: Plan = {
      ...this.#plan,
      physicalToLogical: this.#plan.physicalToLogical.slice(),
      replicaRank: this.#plan.replicaRank.slice(),
      logicalCount: this.#plan.logicalCount.slice(),
    };
    for (let layer = 0; layer < layers; layer++) {
      const at = layer * replicas;
      const slots = plan.physicalToLogical;
      if (this.#planner!.adjust(this.#estimate, layer * experts, slots, at, this.#localityBudget)) {
        rankLayer(plan, layer, experts);
      }
    }
    return plan;
  }

  #charge(before: Plan, after: Plan): void {
    const { layers, replicas } = this.#sizes;
    let stallSeconds = 0;
    for (let layer = 0; layer < layers; layer++) {
      const move = this.#counter.count(
        before.physicalToLogical,
        after.physicalToLogical,
        layer * replicas,
        this.#intraSeconds,
        this.#interSeconds,
      );
      this.#received += move.received;
      stallSeconds += move.stallSeconds;
    }
    stallSeconds *= this.#modelLayers / layers;
    if (stallSeconds > this.#largestStallSeconds) this.#largestStallSeconds = stallSeconds;
  }

  #measure(first: number): void {
    const { layers, experts, counts } = this.#trace;
    const { gpus } = this.#sizes;
    for (let layer = 0; layer < layers; layer++) {
      this.#loads.fill(0);
      addGpuLoads(counts, first + layer * experts, this.#plan, layer, experts, this.#loads, 0);
      let sum = 0;
      let max = 0;
      for (let g = 0; g < gpus; g++) {
        sum += this.#loads[g]!;
        if (this.#loads[g]! > max) max = this.#loads[g]!;
      }
      this.#sumOfMeans += sum / gpus;
      this.#sumOfMaxima += max;
    }
  }

  result(): ReplayResult {
    const { minutes, layers } = this.#trace;
    const periods = (minutes - WARM_UP_MINUTES) / 10;
    const efficiency = this.#sumOfMaxima > 0 ? this.#sumOfMeans / this.#sumOfMaxima : 1;
    const migrated = periods > 0 ? this.#received / (layers * this.#sizes.replicas) / periods : 0;
    return {
      score: efficiency - MIGRATION_WEIGHT * migrated,
      efficiency,
      migrated,
      largestStallSeconds: this.#largestStallSeconds,
    };
  }
}
