import {
  gpuLoads,
  LiveRebalancer,
  type LiveRebalancerOptions,
  type Load,
  type MigrationPlan,
  MigrationSchedule,
  type Plan,
  planMigration,
  rebalance,
} from '@moestack/placement';
import type { Clock } from '../clock.js';
import type { StageExpertStats } from './engine-stats.js';
import type { RankExpertLoad } from './protocol.js';
import type { StageGroup } from './stage-group.js';

/** The experts of one stage of several ranks. */
export interface StageExperts {
  readonly stage: string;
  /** Where they live now. */
  readonly plan: Plan;
  /** What they have done since the start, by rank. */
  readonly ranks: readonly RankExpertLoad[];
}

/** A placement that was put in force. */
export interface StageRebalance {
  readonly stage: string;
  readonly plan: Plan;
  /** Layers whose placement changed. */
  readonly layers: number;
  /** Experts that ranks received from others. */
  readonly movedExperts: number;
  /** Highest over mean load of a rank, mean over layers, by the tokens since the last time. */
  readonly imbalanceBefore: number;
  readonly imbalanceAfter: number;
}

/** A stage of several ranks, in threads or processes. */
export type ExpertStage = Pick<StageGroup, 'name' | 'threads' | 'post' | 'listenToExperts'>;

interface Waiting {
  left: number;
  readonly loads: RankExpertLoad[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const REFRESH_US = 500_000;

/** Moves the experts of one stage while it serves: layer by layer, each switched between the same two steps on all ranks. */
export class ExpertBalancer {
  readonly #group: ExpertStage;
  readonly #experts: number;
  #plan: Plan;
  #seen: Float64Array;
  #waiting: Waiting | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #expertBytes = 0;
  #failure: unknown;
  readonly #clock: Clock;
  readonly #layers: readonly number[];
  /** The newest counts of all ranks, and when they were asked for. */
  #latest: Float64Array | undefined;
  #askedUs = Number.NEGATIVE_INFINITY;
  #migration: StageExpertStats['lastMigration'];

  /** @param options - `layers`: index in the model of each row of the plan. */
  constructor(group: ExpertStage, plan: Plan, options: { clock: Clock; layers: readonly number[] }) {
    this.#clock = options.clock;
    this.#layers = options.layers;
    this.#group = group;
    this.#plan = plan;
    this.#experts = plan.logicalCount.length / plan.layers;
    this.#seen = new Float64Array(plan.layers * this.#experts);
    group.listenToExperts((rank, message) => {
      const waiting = this.#waiting;
      if (waiting === undefined) return;
      if (message.type === 'load') waiting.loads[rank] = message.load;
      if (--waiting.left > 0) return;
      this.#waiting = undefined;
      waiting.resolve();
    });
  }

  /** Where the experts live now, and what they have done. */
  report(): Promise<StageExperts> {
    return this.#alone(async () => ({
      stage: this.#group.name,
      plan: this.#plan,
      ranks: await this.#loads(),
    }));
  }

  /** What is known now; asks for newer counts, for the next call, at most twice a second. */
  stats(): StageExpertStats | undefined {
    const nowUs = this.#clock.nowUs();
    if (this.#failure === undefined && nowUs - this.#askedUs >= REFRESH_US) {
      this.#askedUs = nowUs;
      // A lost engine tells whoever waits for it.
      this.#alone(() => this.#loads()).catch(() => undefined);
    }
    if (this.#latest === undefined) return undefined;
    const { layers, physicalToLogical, deployment } = this.#plan;
    return {
      stage: this.#group.name,
      ranks: this.#group.threads,
      layers: this.#layers,
      tokens: rowsOf(this.#latest, layers),
      placement: rowsOf(physicalToLogical, layers),
      slotsPerRank: deployment.replicas / deployment.gpus,
      ...(this.#migration && { lastMigration: this.#migration }),
    };
  }

  /** Plans for the tokens since the last time, and moves the experts. Without tokens nothing moves. */
  rebalance(): Promise<StageRebalance> {
    return this.#alone(async () => {
      const load = await this.#newLoad();
      const before = this.#plan;
      if (!load.counts.some((count) => count > 0)) return this.#result(load, before, 0, 0);
      const wanted = rebalance(load, before.deployment, { policy: 'optimal' });
      const migration = planMigration(before, wanted);
      return this.#result(load, before, await this.#apply(migration), received(migration));
    });
  }

  /** Watches the load and moves experts when the trigger of `options` says so, until the engine ends. */
  watch(options: LiveRebalancerOptions, clock: Clock, onMoved: (result: StageRebalance) => void): () => void {
    const live = new LiveRebalancer(this.#plan, options);
    const tick = async (): Promise<void> => {
      const load = await this.#newLoad();
      for (let layer = 0; layer < load.layers; layer++) {
        const row = load.counts.subarray(layer * load.experts, (layer + 1) * load.experts);
        live.recorder.recordLogical(layer, row);
      }
      const due = live.tick(clock.nowUs());
      if (due === undefined) return;
      const before = this.#plan;
      const layers = await this.#apply(due.migration);
      live.adopt(this.#plan);
      onMoved(this.#result(load, before, layers, received(due.migration)));
    };
    live.tick(clock.nowUs());
    const timer = setInterval(
      () => {
        // A lost engine tells whoever waits for it.
        this.#alone(tick).catch(() => clearInterval(timer));
      },
      Math.max(100, live.recorder.bucketUs / 1000),
    );
    timer.unref();
    return () => clearInterval(timer);
  }

  /** Rejects what is under way and what comes. */
  fail(error: unknown): void {
    this.#failure ??= error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }

  /** Carries a migration out. Should it fail half way, the plan says which layers have switched. */
  async #apply(migration: MigrationPlan): Promise<number> {
    const { transfers, after } = migration;
    if (transfers.length === 0) return 0;
    const schedule = new MigrationSchedule(migration, { expertBytes: this.#expertBytes });
    const rows = new Set<number>();
    for (let step = schedule.nextStep(); step !== undefined; step = schedule.nextStep()) {
      for (const { layer } of step.transfers) rows.add(layer);
    }
    for (const row of rows) {
      await this.#ask({ type: 'stage-experts', row, plan: after });
      for (const transfer of transfers) if (transfer.layer === row) schedule.arrived(transfer);
      schedule.switchLayer(row);
      // Posted to all ranks at once: between the same two steps.
      this.#group.post({ type: 'switch-experts' });
      this.#plan = schedule.currentPlan();
    }
    return rows.size;
  }

  async #loads(): Promise<RankExpertLoad[]> {
    const loads = await this.#ask({ type: 'load' });
    const total = new Float64Array(this.#plan.layers * this.#experts);
    for (const { tokens, expertBytes } of loads) {
      this.#expertBytes = expertBytes;
      for (let i = 0; i < tokens.length; i++) total[i] = total[i]! + tokens[i]!;
    }
    this.#latest = total;
    return loads;
  }

  /** Tokens of all ranks since the last call. */
  async #newLoad(): Promise<Load & { counts: Float64Array }> {
    const { layers } = this.#plan;
    await this.#loads();
    const total = this.#latest!;
    const counts = total.map((count, i) => count - this.#seen[i]!);
    this.#seen = total;
    return { layers, experts: this.#experts, counts };
  }

  #result(load: Load, before: Plan, layers: number, movedExperts: number): StageRebalance {
    const result = this.#describe(load, before, layers, movedExperts);
    if (layers > 0) {
      const { imbalanceBefore, imbalanceAfter } = result;
      this.#migration = {
        atUs: this.#clock.nowUs(),
        layers,
        movedExperts,
        movedBytes: movedExperts * this.#expertBytes,
        imbalanceBefore,
        imbalanceAfter,
      };
    }
    return result;
  }

  #describe(load: Load, before: Plan, layers: number, movedExperts: number): StageRebalance {
    return {
      stage: this.#group.name,
      plan: this.#plan,
      layers,
      movedExperts,
      imbalanceBefore: imbalance(load, before),
      imbalanceAfter: imbalance(load, this.#plan),
    };
  }

  #ask(
    message: { type: 'load' } | { type: 'stage-experts'; row: number; plan: Plan },
  ): Promise<RankExpertLoad[]> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      const loads: RankExpertLoad[] = [];
      this.#waiting = { left: this.#group.threads, loads, resolve: () => resolve(loads), reject };
      this.#group.post(message);
    });
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

function rowsOf(values: ArrayLike<number>, rows: number): number[][] {
  const width = values.length / rows;
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length: width }, (_, column) => values[row * width + column]!),
  );
}

/** Experts that ranks receive from others. */
function received({ transfers }: MigrationPlan): number {
  return transfers.filter(({ kind }) => kind !== 'sameGpu').length;
}

function imbalance(load: Load, plan: Plan): number {
  const { gpus } = plan.deployment;
  const loads = gpuLoads(load, plan);
  let sum = 0;
  let used = 0;
  for (let layer = 0; layer < plan.layers; layer++) {
    const row = loads.subarray(layer * gpus, (layer + 1) * gpus);
    const total = row.reduce((all, one) => all + one, 0);
    if (total === 0) continue;
    sum += (Math.max(...row) * gpus) / total;
    used++;
  }
  return used === 0 ? 1 : sum / used;
}
