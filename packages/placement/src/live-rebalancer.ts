import { balanceMetrics } from './balance.js';
import { addGpuLoads } from './gpu-loads.js';
import { IncrementalPlanner } from './incremental.js';
import { LoadForecast } from './load-forecast.js';
import { ExpertLoadRecorder, type ExpertLoadRecorderOptions } from './load-recorder.js';
import { type MigrationPlan, planMigration } from './migration.js';
import { badConfig, checkPlan, type Sizes } from './operands.js';
import { planExperts, rankLayer } from './plan.js';
import { type RebalanceReason, RebalanceTrigger, type RebalanceTriggerOptions } from './rebalance-trigger.js';
import type { Plan } from './types.js';

/** Options of {@link LiveRebalancer}. */
export interface LiveRebalancerOptions extends RebalanceTriggerOptions {
  /** Buckets of the load record. */
  recorder?: Pick<ExpertLoadRecorderOptions, 'bucketSeconds' | 'buckets'>;
  /** As in `rebalance`; default 0 where the groups divide over the nodes, else Infinity. */
  localityBudget?: number;
}

/** A migration that is due. */
export interface LiveMigration {
  readonly reason: RebalanceReason;
  readonly migration: MigrationPlan;
}

/**
 * Load in, migrations out: records counts, predicts the load, and when the trigger says so plans the moves that pay for
 * themselves. The caller carries a migration out with a `MigrationSchedule` and then calls `adopt`; until then nothing
 * further is planned.
 */
export class LiveRebalancer {
  readonly recorder: ExpertLoadRecorder;
  readonly #forecast: LoadForecast;
  readonly #trigger: RebalanceTrigger;
  readonly #planner: IncrementalPlanner;
  readonly #sizes: Sizes;
  readonly #localityBudget: number;
  readonly #estimate: Float64Array;
  #observed = 0;
  #plan: Plan;
  #underWay = false;

  constructor(plan: Plan, options: LiveRebalancerOptions = {}) {
    const experts = planExperts(plan);
    this.#sizes = checkPlan(plan, experts);
    this.#plan = plan;
    this.#trigger = new RebalanceTrigger(options);
    this.recorder = new ExpertLoadRecorder({ layers: plan.layers, experts, ...options.recorder });
    const periodUs = (options.periodSeconds ?? 600) * 1e6;
    const horizon = Math.max(1, Math.min(60, Math.round(periodUs / this.recorder.bucketUs)));
    this.#forecast = new LoadForecast(plan.layers, experts, horizon);
    this.#planner = new IncrementalPlanner(this.#sizes);
    this.#estimate = new Float64Array(plan.layers * experts);
    const grouped = this.#sizes.hierarchical && this.#sizes.nodes > 1;
    this.#localityBudget = options.localityBudget ?? (grouped ? 0 : Number.POSITIVE_INFINITY);
    if (!(this.#localityBudget >= 0)) {
      throw badConfig(
        'expected a localityBudget of at least 0',
        String(options.localityBudget),
        'pass a fraction or Infinity',
      );
    }
  }

  /** The plan in force. */
  get plan(): Plan {
    return this.#plan;
  }

  /** Closes buckets up to `nowUs` and returns a migration if one is due and moves anything. */
  tick(nowUs: number): LiveMigration | undefined {
    this.#trigger.start(nowUs);
    if (this.recorder.advance(nowUs) === 0) return undefined;
    const closed = this.recorder.closedBuckets;
    for (let i = Math.max(this.#observed, closed - this.recorder.capacity); i < closed; i++) {
      this.#forecast.observe(this.recorder.bucket(i));
    }
    this.#observed = closed;
    if (this.#underWay) return undefined;
    const reason = this.#trigger.check(nowUs, this.#imbalance(closed - 1));
    if (reason === undefined) return undefined;
    const migration = this.#planMoves();
    if (migration.transfers.length === 0) return undefined;
    this.#underWay = true;
    return { reason, migration };
  }

  /** Takes the plan over that a migration has led to, whole or as far as it came. */
  adopt(plan: Plan): void {
    checkPlan(plan, this.#sizes.experts);
    this.#plan = plan;
    this.#underWay = false;
  }

  #imbalance(bucket: number): number {
    const { layers, experts, gpus } = this.#sizes;
    const counts = this.recorder.bucket(bucket);
    const loads = new Float64Array(layers * gpus);
    for (let layer = 0; layer < layers; layer++) {
      addGpuLoads(counts, layer * experts, this.#plan, layer, experts, loads, layer * gpus);
    }
    return balanceMetrics(loads, gpus).maxViolation;
  }

  #planMoves(): MigrationPlan {
    const { layers, experts, replicas } = this.#sizes;
    this.#forecast.forecastInto(this.#estimate);
    const after: Plan = {
      ...this.#plan,
      physicalToLogical: this.#plan.physicalToLogical.slice(),
      replicaRank: this.#plan.replicaRank.slice(),
      logicalCount: this.#plan.logicalCount.slice(),
    };
    for (let layer = 0; layer < layers; layer++) {
      const at = layer * replicas;
      if (
        this.#planner.adjust(
          this.#estimate,
          layer * experts,
          after.physicalToLogical,
          at,
          this.#localityBudget,
        )
      ) {
        rankLayer(after, layer, experts);
      }
    }
    return planMigration(this.#plan, after);
  }
}
