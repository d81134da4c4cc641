import type { Communicator, WaitOptions } from '@moestack/collectives';
import {
  type Plan,
  planFromSlots,
  planMigration,
  type ReplicaSelector,
  type SlotTransfer,
} from '@moestack/placement';
import { ModelError } from './errors.js';
import { expertBytes, nanCells, nanCounts, readExpert, writeExpert } from './expert-message.js';
import { checkPlacement } from './parallel-options.js';
import type { MlpWeights } from './weights.js';

/** What an {@link ExpertPlacement} works on. */
export interface ExpertPlacementParts {
  /** Owned from now on; weights travel on it, apart from the tokens of steps. */
  readonly communicator: Communicator;
  readonly plan: Plan;
  readonly selector: ReplicaSelector;
  /** For each row of the plan this rank's experts by slot: what the layers read. */
  readonly experts: readonly MlpWeights[][];
  readonly spares: MlpWeights[];
}

/** Weights that have arrived for one layer and wait to be used. */
interface Staged {
  readonly row: number;
  readonly plan: Plan;
  /** By slot of this rank. */
  readonly arrived: Map<number, MlpWeights>;
}

/**
 * Where the experts live now, and how that changes while steps run. One layer at a time: {@link ExpertPlacement.stageLayer} brings the weights into spare slots
 * while the old ones stay in use, {@link ExpertPlacement.switchLayer} puts weights and routing in force together. Every rank makes the same calls, and
 * switches between the same two steps.
 */
export class ExpertPlacement {
  /** Bytes of one expert's weights. */
  readonly expertBytes: number;
  /** Most slots of one rank that can change with one layer. */
  readonly spareSlots: number;
  private readonly communicator: Communicator;
  private readonly selector: ReplicaSelector;
  private readonly experts: readonly MlpWeights[][];
  private readonly spares: MlpWeights[];
  private readonly slotsPerRank: number;
  private current: Plan;
  private staged: Staged | undefined;
  private isMoving = false;
  private moved = 0;

  /** @internal */
  constructor(parts: ExpertPlacementParts) {
    this.communicator = parts.communicator;
    this.selector = parts.selector;
    this.experts = parts.experts;
    this.spares = parts.spares;
    this.spareSlots = parts.spares.length;
    this.current = parts.plan;
    this.slotsPerRank = parts.plan.deployment.replicas / parts.communicator.size;
    this.expertBytes = expertBytes(parts.experts[0]![0]!);
  }

  /** The placement in force. */
  get plan(): Plan {
    return this.current;
  }

  /** Experts that this rank has received from others so far. */
  get receivedExperts(): number {
    return this.moved;
  }

  /**
   * Brings the weights that row `row` of `plan` needs into spare slots. Resolves when every rank has its own; steps may run meanwhile, and go by the old
   * placement.
   *
   * @throws ModelError `model/bad-options` for a plan of another shape, `model/no-spare-slots`, `model/placement-busy`: on every rank, before anything moves.
   */
  async stageLayer(row: number, plan: Plan, wait: WaitOptions = {}): Promise<void> {
    const { current } = this;
    checkPlacement(
      plan,
      current.layers,
      current.logicalCount.length / current.layers,
      this.communicator.size,
    );
    if (plan.deployment.replicas !== current.deployment.replicas) {
      throw misuse('model/bad-options', 'a plan with as many slots', plan.deployment.replicas);
    }
    if (!Number.isInteger(row) || row < 0 || row >= current.layers) {
      throw misuse('model/bad-options', `a row below ${current.layers}`, row);
    }
    if (this.isMoving || this.staged !== undefined) {
      throw misuse('model/placement-busy', 'one layer at a time: switch or drop the last one first', row);
    }
    const transfers = this.transfersOf(row, plan);
    this.needSpares(transfers);
    const arrived = new Map<number, MlpWeights>();
    this.isMoving = true;
    try {
      // In one order on all ranks, so that no two wait for each other.
      for (const transfer of transfers) await this.move(transfer, arrived, wait);
      await this.communicator.barrier(wait);
    } catch (error) {
      this.spares.push(...arrived.values());
      throw error;
    } finally {
      this.isMoving = false;
    }
    this.staged = { row, plan, arrived };
  }

  /** Puts what was staged in force: weights and routing at once. Allocates a little, moves nothing. */
  switchLayer(): void {
    const { staged, selector, current } = this;
    if (staged === undefined) throw misuse('model/placement-busy', 'a staged layer', 'none');
    const { row, plan, arrived } = staged;
    const slots = this.experts[row]!;
    for (const [slot, weights] of arrived) {
      this.spares.push(slots[slot]!);
      slots[slot] = weights;
    }
    const { layers, deployment, logicalCount } = current;
    const next = current.physicalToLogical.slice();
    const { replicas } = deployment;
    next.set(plan.physicalToLogical.subarray(row * replicas, (row + 1) * replicas), row * replicas);
    this.current = planFromSlots(next, { layers, experts: logicalCount.length / layers, deployment });
    selector.switchLayer(row, this.current);
    this.staged = undefined;
  }

  /** Gives up what was staged; the old placement stays. On every rank. */
  dropStaged(): void {
    if (this.staged === undefined) return;
    this.spares.push(...this.staged.arrived.values());
    this.staged = undefined;
  }

  /** @internal */
  close(): void {
    this.communicator.close();
  }

  private transfersOf(row: number, plan: Plan): SlotTransfer[] {
    const { transfers } = planMigration(this.current, plan, { preserveSlots: false });
    return transfers.filter((transfer) => transfer.layer === row);
  }

  private needSpares(transfers: readonly SlotTransfer[]): void {
    const needed = new Int32Array(this.communicator.size);
    for (const { slot } of transfers) needed[Math.floor(slot / this.slotsPerRank)]!++;
    const most = Math.max(...needed);
    if (most <= this.spareSlots) return;
    throw new ModelError({
      code: 'model/no-spare-slots',
      message: `a rank would receive ${most} experts of one layer, and has ${this.spareSlots} spare slots`,
      value: most,
      remedy: `open the runtime with spareSlots: ${most} or more, or move fewer experts at a time`,
    });
  }

  private async move(
    transfer: SlotTransfer,
    arrived: Map<number, MlpWeights>,
    wait: WaitOptions,
  ): Promise<void> {
    const { communicator, slotsPerRank } = this;
    const slots = this.experts[transfer.layer]!;
    const from = Math.floor(transfer.sourceSlot / slotsPerRank);
    const to = Math.floor(transfer.slot / slotsPerRank);
    const source = slots[transfer.sourceSlot % slotsPerRank]!;
    const slot = transfer.slot % slotsPerRank;
    if (communicator.rank !== from && communicator.rank !== to) return;
    const bytes = new Uint8Array(this.expertBytes);
    if (communicator.rank === from) {
      writeExpert(source, bytes);
      if (from === to) {
        arrived.set(slot, readExpert(this.spares.pop()!, bytes, nanCounts(source), nanCells(source)));
        return;
      }
      const counts = nanCounts(source);
      await communicator.send(counts, { ...wait, to });
      await communicator.send(bytes, { ...wait, to });
      const cells = nanCells(source);
      if (cells.length > 0) await communicator.send(cells, { ...wait, to });
      return;
    }
    const counts = await communicator.receive(new Int32Array(3), { ...wait, from });
    await communicator.receive(bytes, { ...wait, from });
    const length = counts.reduce((sum, one) => sum + one, 0);
    const cells = new Int32Array(length);
    if (length > 0) await communicator.receive(cells, { ...wait, from });
    arrived.set(slot, readExpert(this.spares.pop()!, bytes, counts, cells));
    this.moved++;
  }
}

function misuse(
  code: 'model/bad-options' | 'model/placement-busy',
  expected: string,
  value: unknown,
): ModelError {
  return new ModelError({
    code,
    message: `expected ${expected}, got ${String(value)}`,
    value,
    remedy: 'stage a layer on every rank, then switch it on every rank between the same two steps',
  });
}
