import { badShape, checkPlan } from './operands.js';
import { planExperts, planFromSlots } from './plan.js';
import { preserveSlots } from './relabel.js';
import type { Plan } from './types.js';

/** How far the weights of a transfer travel. */
export type TransferKind = 'sameGpu' | 'sameNode' | 'remote';

/** One expert's weights that must get into one slot before the layer can switch. */
export interface SlotTransfer {
  readonly layer: number;
  readonly expert: number;
  /** Destination, a slot of the layer. */
  readonly slot: number;
  /** A slot of the layer that holds the expert under the old plan, as near as there is one. */
  readonly sourceSlot: number;
  readonly kind: TransferKind;
}

/** What has to move between two plans. */
export interface MigrationPlan {
  readonly before: Plan;
  /** The new plan; what stays on a GPU keeps its slot. */
  readonly after: Plan;
  /** By layer, then by destination slot. */
  readonly transfers: readonly SlotTransfer[];
  /**
   * Replicas that GPUs receive: multiset difference of the experts on each GPU, moves between its slots not counted. A second
   * replica on a GPU that has one already counts, though it is a local copy.
   */
  readonly received: number;
}

/** Options of {@link planMigration}. */
export interface MigrationOptions {
  /** Put experts that stay on a GPU back into their old slots; default true. */
  preserveSlots?: boolean;
}

/** The transfers that lead from one plan to another of the same layers and deployment. */
export function planMigration(before: Plan, after: Plan, options: MigrationOptions = {}): MigrationPlan {
  const experts = planExperts(before);
  const sizes = checkPlan(before, experts);
  const target = checkPlan(after, planExperts(after));
  if (
    planExperts(after) !== experts ||
    target.layers !== sizes.layers ||
    target.replicas !== sizes.replicas ||
    target.gpus !== sizes.gpus ||
    target.nodes !== sizes.nodes
  ) {
    throw badShape(
      'expected two plans of the same experts, layers and deployment',
      { before: before.deployment, after: after.deployment },
      'use adaptPlan for a changed set of GPUs',
    );
  }
  const { layers, replicas, slotsPerGpu } = sizes;
  let to = after;
  if (options.preserveSlots !== false) {
    const slots = after.physicalToLogical.slice();
    for (let layer = 0; layer < layers; layer++) {
      preserveSlots(before.physicalToLogical, slots, layer * replicas, sizes);
    }
    to = planFromSlots(slots, { layers, experts, deployment: after.deployment });
  }
  const finder = new SourceFinder(experts, sizes.replicas, slotsPerGpu, sizes.gpusPerNode);
  const transfers: SlotTransfer[] = [];
  let received = 0;
  for (let layer = 0; layer < layers; layer++) {
    const old = before.physicalToLogical.subarray(layer * replicas, (layer + 1) * replicas);
    const next = to.physicalToLogical.subarray(layer * replicas, (layer + 1) * replicas);
    received += countReceived(old, next, slotsPerGpu, experts);
    finder.index(old);
    for (let slot = 0; slot < replicas; slot++) {
      if (next[slot] === old[slot]) continue;
      const expert = next[slot]!;
      const { sourceSlot, kind } = finder.find(expert, slot);
      transfers.push({ layer, expert, slot, sourceSlot, kind });
    }
  }
  return { before, after: to, transfers, received };
}

function countReceived(old: Int32Array, next: Int32Array, slotsPerGpu: number, experts: number): number {
  const had = new Int32Array(experts);
  let received = 0;
  for (let first = 0; first < old.length; first += slotsPerGpu) {
    for (let s = first; s < first + slotsPerGpu; s++) had[old[s]!]!++;
    for (let s = first; s < first + slotsPerGpu; s++) {
      if (had[next[s]!]! > 0) had[next[s]!]!--;
      else received++;
    }
    for (let s = first; s < first + slotsPerGpu; s++) had[old[s]!] = 0;
  }
  return received;
}

/** Finds the nearest source of an expert, the least used among equally near ones. */
class SourceFinder {
  readonly #slotsPerGpu: number;
  readonly #gpusPerNode: number;
  readonly #holders: number[][];
  readonly #reads: Int32Array;

  constructor(experts: number, replicas: number, slotsPerGpu: number, gpusPerNode: number) {
    this.#slotsPerGpu = slotsPerGpu;
    this.#gpusPerNode = gpusPerNode;
    this.#holders = Array.from({ length: experts }, () => []);
    this.#reads = new Int32Array(replicas / slotsPerGpu);
  }

  index(slots: Int32Array): void {
    for (const list of this.#holders) list.length = 0;
    slots.forEach((expert, slot) => {
      this.#holders[expert]!.push(slot);
    });
    this.#reads.fill(0);
  }

  find(expert: number, destination: number): { sourceSlot: number; kind: TransferKind } {
    const gpu = Math.floor(destination / this.#slotsPerGpu);
    let sourceSlot = -1;
    let nearest = 3;
    for (const slot of this.#holders[expert]!) {
      const from = Math.floor(slot / this.#slotsPerGpu);
      const distance = this.#distance(from, gpu);
      const fewer =
        sourceSlot >= 0 && this.#reads[from]! < this.#reads[Math.floor(sourceSlot / this.#slotsPerGpu)]!;
      if (distance < nearest || (distance === nearest && fewer)) {
        nearest = distance;
        sourceSlot = slot;
      }
    }
    this.#reads[Math.floor(sourceSlot / this.#slotsPerGpu)]!++;
    return { sourceSlot, kind: (['sameGpu', 'sameNode', 'remote'] as const)[nearest]! };
  }

  #distance(a: number, b: number): number {
    if (a === b) return 0;
    return Math.floor(a / this.#gpusPerNode) === Math.floor(b / this.#gpusPerNode) ? 1 : 2;
  }
}
