import { PlacementError } from './errors.js';
import type { MigrationPlan, SlotTransfer } from './migration.js';
import { badConfig } from './operands.js';
import { planExperts, rankLayer } from './plan.js';
import type { Plan } from './types.js';

/** Rates and limits of a {@link MigrationSchedule}. */
export interface MigrationScheduleOptions {
  /** Weights of one expert of one layer. */
  expertBytes: number;
  /** Default 160. */
  intraNodeGBps?: number;
  /** Default 50. */
  interNodeGBps?: number;
  /** Longest time that the transfers of one step may take a GPU; default 0.2. */
  maxStallSeconds?: number;
}

/** Transfers that may run at the same time. */
export interface MigrationStep {
  readonly index: number;
  readonly transfers: readonly SlotTransfer[];
  /** Layers that can switch once this step's transfers have arrived. */
  readonly completes: readonly number[];
  /** Longest time any GPU spends receiving, at the rates given. */
  readonly seconds: number;
}

/**
 * Carries a migration out, layer by layer, and guards its one rule: no token is routed to a slot whose weights have not
 * arrived. The engine takes steps, copies each transfer into a staging buffer (the old weights stay in use, also as
 * sources), reports arrivals, and switches a layer when all of it has arrived: staging buffers and routing table together,
 * between two forward passes. Abandoning it at any point leaves whole layers, old or new.
 *
 * @example
 * ```ts
 * for (let step = schedule.nextStep(); step; step = schedule.nextStep()) {
 *   for (const transfer of step.transfers) schedule.arrived(transfer); // after its copy into staging
 *   for (const layer of step.completes) schedule.switchLayer(layer); // with the staged weights, atomically
 * }
 * ```
 */
export class MigrationSchedule {
  readonly steps: readonly MigrationStep[];
  /** Staging buffers, in experts, that a GPU needs at most if each layer switches as soon as it is complete. */
  readonly stagingExperts: number;
  readonly #migration: MigrationPlan;
  readonly #waiting: Map<SlotTransfer, number>;
  readonly #missing: Int32Array;
  readonly #isNew: Uint8Array;
  readonly #plan: Plan;
  #issued = 0;
  #abandoned = false;

  constructor(migration: MigrationPlan, options: MigrationScheduleOptions) {
    const { expertBytes, intraNodeGBps = 160, interNodeGBps = 50, maxStallSeconds = 0.2 } = options;
    for (const [name, value] of Object.entries({
      expertBytes,
      intraNodeGBps,
      interNodeGBps,
      maxStallSeconds,
    })) {
      if (!(value > 0 && value < Number.POSITIVE_INFINITY)) {
        throw badConfig(`expected a positive ${name}, got ${value}`, String(value), `pass ${name}`);
      }
    }
    const { before } = migration;
    this.#migration = migration;
    this.#waiting = new Map();
    this.#missing = new Int32Array(before.layers);
    this.#isNew = new Uint8Array(before.layers);
    for (const transfer of migration.transfers) this.#missing[transfer.layer]!++;
    this.#plan = {
      ...before,
      physicalToLogical: before.physicalToLogical.slice(),
      replicaRank: before.replicaRank.slice(),
      logicalCount: before.logicalCount.slice(),
    };
    // Moves inside a GPU cost a copy in its own memory, which is not counted as a stall.
    const seconds = {
      sameGpu: 0,
      sameNode: expertBytes / (intraNodeGBps * 1e9),
      remote: expertBytes / (interNodeGBps * 1e9),
    };
    const built = buildSteps(migration, seconds, maxStallSeconds);
    this.steps = built.steps;
    this.stagingExperts = built.stagingExperts;
  }

  /** Issues the next step; undefined when all are issued or the migration was abandoned. */
  nextStep(): MigrationStep | undefined {
    if (this.#abandoned) return undefined;
    const step = this.steps[this.#issued];
    if (step === undefined) return undefined;
    this.#issued++;
    for (const transfer of step.transfers) this.#waiting.set(transfer, step.index);
    return step;
  }

  /** Notes that the weights of a transfer lie in the staging buffer of its destination. */
  arrived(transfer: SlotTransfer): void {
    if (this.#abandoned) throw badState('the migration was abandoned', transfer, 'drop what arrives late');
    if (!this.#waiting.delete(transfer)) {
      throw badState(
        `no transfer into slot ${transfer.slot} of layer ${transfer.layer} is under way`,
        transfer,
        'report each transfer of an issued step once',
      );
    }
    this.#missing[transfer.layer]!--;
  }

  /** Whether all weights of a layer have arrived. */
  canSwitch(layer: number): boolean {
    this.#checkLayer(layer);
    return this.#missing[layer] === 0;
  }

  /** Makes the new plan of a layer the one in force; an error while any of its weights are missing. */
  switchLayer(layer: number): void {
    if (!this.canSwitch(layer)) {
      throw badState(
        `layer ${layer} still lacks the weights of ${this.#missing[layer]} slots`,
        layer,
        'switch a layer after all its transfers have arrived',
      );
    }
    if (this.#abandoned) throw badState('the migration was abandoned', layer, 'plan a new migration');
    if (this.#isNew[layer] === 1) return;
    const { after } = this.#migration;
    const { replicas } = after.deployment;
    const first = layer * replicas;
    this.#plan.physicalToLogical.set(after.physicalToLogical.subarray(first, first + replicas), first);
    rankLayer(this.#plan, layer, planExperts(after));
    this.#isNew[layer] = 1;
  }

  /** Whether a layer runs on the new plan. */
  isNew(layer: number): boolean {
    this.#checkLayer(layer);
    return this.#isNew[layer] === 1;
  }

  /** The plan in force now, layer by layer; a copy. */
  currentPlan(): Plan {
    return {
      ...this.#plan,
      physicalToLogical: this.#plan.physicalToLogical.slice(),
      replicaRank: this.#plan.replicaRank.slice(),
      logicalCount: this.#plan.logicalCount.slice(),
    };
  }

  /** Whether every layer runs on the new plan. */
  get isDone(): boolean {
    return this.#isNew.indexOf(0) < 0;
  }

  /** Gives up: layers that have not switched stay on the old plan, transfers under way are to be dropped. */
  abandon(): void {
    this.#abandoned = true;
    this.#waiting.clear();
  }

  #checkLayer(layer: number): void {
    if (!Number.isInteger(layer) || layer < 0 || layer >= this.#missing.length) {
      throw badConfig(
        `expected a layer below ${this.#missing.length}, got ${layer}`,
        layer,
        'pass a row of the plan',
      );
    }
  }
}

function badState(message: string, value: unknown, remedy: string): PlacementError {
  return new PlacementError({ code: 'placement/bad-state', message, value, remedy });
}

/** Fills steps with transfers in order, as long as no GPU receives for longer than allowed. */
function buildSteps(
  migration: MigrationPlan,
  seconds: Record<SlotTransfer['kind'], number>,
  maxStallSeconds: number,
): { steps: MigrationStep[]; stagingExperts: number } {
  const { before, transfers } = migration;
  const { replicas, gpus } = before.deployment;
  const slotsPerGpu = replicas / gpus;
  const steps: MigrationStep[] = [];
  const busy = new Float64Array(gpus);
  const staged = new Int32Array(gpus);
  const left = new Int32Array(before.layers);
  for (const { layer } of transfers) left[layer]!++;
  let stagingExperts = 0;
  let current: SlotTransfer[] = [];
  // Layers without transfers can switch at once; they go with the first step.
  let completes: number[] = [...left.keys()].filter((layer) => left[layer] === 0);
  const close = (): void => {
    if (current.length === 0 && completes.length === 0) return;
    steps.push({ index: steps.length, transfers: current, completes, seconds: Math.max(...busy) });
    current = [];
    completes = [];
    busy.fill(0);
  };
  for (let i = 0; i < transfers.length; i++) {
    const transfer = transfers[i]!;
    const gpu = Math.floor(transfer.slot / slotsPerGpu);
    const time = seconds[transfer.kind];
    if (busy[gpu]! > 0 && busy[gpu]! + time > maxStallSeconds) close();
    busy[gpu]! += time;
    current.push(transfer);
    staged[gpu]!++;
    if (staged[gpu]! > stagingExperts) stagingExperts = staged[gpu]!;
    if (--left[transfer.layer]! === 0) {
      completes.push(transfer.layer);
      staged.fill(0);
    }
  }
  close();
  return { steps, stagingExperts };
}
