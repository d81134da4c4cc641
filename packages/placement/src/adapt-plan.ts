import { incremental } from './incremental.js';
import { badConfig, badShape, checkDeployment, checkLoad, checkPlan, type Sizes } from './operands.js';
import { planExperts, planFromSlots } from './plan.js';
import type { Deployment, Load, Plan } from './types.js';

/** Options of {@link adaptPlan}. */
export interface AdaptPlanOptions {
  /** For each GPU of the new deployment the GPU of the old one that it is, or -1 for a GPU without weights. */
  survivors: ArrayLike<number>;
  /** Recent load, which decides who gets free slots; without it every expert counts alike. */
  load?: Load;
  /** Also make the moves that pay for themselves under `load`; default false: move only what must be. */
  improve?: boolean;
}

/**
 * The plan for a changed set of GPUs with the fewest transfers: surviving GPUs keep what they hold, experts that were
 * lost go to free slots (or in place of replicas that can be spared), then free slots take replicas of the busiest
 * experts. Losing GPUs that held the only replica of an expert means loading it from storage; see {@link lostExperts}.
 */
export function adaptPlan(previous: Plan, deployment: Deployment, options: AdaptPlanOptions): Plan {
  const experts = planExperts(previous);
  const old = checkPlan(previous, experts);
  const sizes = checkDeployment(old.layers, experts, deployment);
  const { survivors, load } = options;
  checkSurvivors(survivors, old, sizes);
  if (load !== undefined) {
    checkLoad(load);
    if (load.layers !== old.layers || load.experts !== experts) {
      throw badShape(
        'expected a load of the same layers and experts',
        [load.layers, load.experts],
        'pass the load of this model',
      );
    }
  }
  const slots = new Int32Array(old.layers * sizes.replicas).fill(-1);
  const layer = new LayerAdapter(sizes);
  for (let l = 0; l < old.layers; l++) {
    layer.adapt(
      previous.physicalToLogical.subarray(l * old.replicas, (l + 1) * old.replicas),
      survivors,
      load?.counts.subarray(l * experts, (l + 1) * experts),
      slots.subarray(l * sizes.replicas, (l + 1) * sizes.replicas),
      old.slotsPerGpu,
    );
  }
  const plan = planFromSlots(slots, { layers: old.layers, experts, deployment });
  if (options.improve !== true || load === undefined) return plan;
  return incremental(load, deployment, sizes, plan, Number.POSITIVE_INFINITY);
}

/**
 * Experts whose every replica is on GPUs that do not survive, by layer: their weights must come from storage.
 *
 * @param survivors - as in {@link adaptPlan}.
 */
export function lostExperts(plan: Plan, survivors: ArrayLike<number>): { layer: number; expert: number }[] {
  const experts = planExperts(plan);
  const { layers, replicas, slotsPerGpu } = checkPlan(plan, experts);
  const lost: { layer: number; expert: number }[] = [];
  const kept = new Uint8Array(experts);
  for (let layer = 0; layer < layers; layer++) {
    kept.fill(0);
    for (let i = 0; i < survivors.length; i++) {
      if (survivors[i]! < 0) continue;
      const first = layer * replicas + survivors[i]! * slotsPerGpu;
      for (let s = first; s < first + slotsPerGpu; s++) kept[plan.physicalToLogical[s]!] = 1;
    }
    for (let expert = 0; expert < experts; expert++) if (kept[expert] === 0) lost.push({ layer, expert });
  }
  return lost;
}

function checkSurvivors(survivors: ArrayLike<number>, old: Sizes, sizes: Sizes): void {
  if (survivors.length !== sizes.gpus) {
    throw badShape(
      `expected one survivor for each of ${sizes.gpus} GPUs, got ${survivors.length}`,
      survivors.length,
      'name the old GPU of every new one, -1 for none',
    );
  }
  const seen = new Set<number>();
  for (let g = 0; g < sizes.gpus; g++) {
    const from = survivors[g]!;
    if (from === -1) continue;
    if (!Number.isInteger(from) || from < 0 || from >= old.gpus || seen.has(from)) {
      throw badConfig(
        `expected distinct old GPUs below ${old.gpus} or -1, got ${from} for GPU ${g}`,
        from,
        'name every surviving GPU once',
      );
    }
    seen.add(from);
  }
}

/** Adapts single layers with reused memory. */
class LayerAdapter {
  readonly #sizes: Sizes;
  readonly #counts: Int32Array;
  readonly #weights: Float64Array;

  constructor(sizes: Sizes) {
    this.#sizes = sizes;
    this.#counts = new Int32Array(sizes.experts);
    this.#weights = new Float64Array(sizes.experts);
  }

  adapt(
    old: Int32Array,
    survivors: ArrayLike<number>,
    load: ArrayLike<number> | undefined,
    out: Int32Array,
    oldSlotsPerGpu: number,
  ): void {
    const { experts, gpus, slotsPerGpu } = this.#sizes;
    let total = 0;
    for (let e = 0; e < experts; e++) {
      this.#weights[e] = load === undefined ? 1 : load[e]!;
      total += this.#weights[e]!;
    }
    if (total === 0) this.#weights.fill(1);
    this.#counts.fill(0);
    for (let g = 0; g < gpus; g++) {
      if (survivors[g]! < 0) continue;
      for (let s = 0; s < oldSlotsPerGpu; s++) this.#counts[old[survivors[g]! * oldSlotsPerGpu + s]!]!++;
    }
    for (let g = 0; g < gpus; g++) {
      if (survivors[g]! < 0) continue;
      const held = [...old.subarray(survivors[g]! * oldSlotsPerGpu, (survivors[g]! + 1) * oldSlotsPerGpu)];
      while (held.length > slotsPerGpu) this.#dropFrom(held);
      held.forEach((e, s) => {
        out[g * slotsPerGpu + s] = e;
      });
    }
    for (let e = 0; e < experts; e++) if (this.#counts[e] === 0) this.#place(e, out);
    for (let slot = 0; slot < out.length; slot++) {
      if (out[slot] === -1) this.#fill(slot, out);
    }
  }

  /** Drops the expert that misses least: one with other replicas and the smallest share, else the smallest. */
  #dropFrom(held: number[]): void {
    let worst = 0;
    for (let i = 1; i < held.length; i++) if (this.#missed(held[i]!) < this.#missed(held[worst]!)) worst = i;
    this.#counts[held[worst]!]!--;
    held.splice(worst, 1);
  }

  #missed(expert: number): number {
    const count = this.#counts[expert]!;
    const weight = this.#weights[expert]!;
    return count > 1 ? weight / (count - 1) : Number.MAX_VALUE / 2 + weight;
  }

  /** Puts a lost expert into a free slot of the least loaded GPU, else over the replica that misses least. */
  #place(expert: number, out: Int32Array): void {
    const { gpus, slotsPerGpu } = this.#sizes;
    let best = -1;
    let lowest = Number.POSITIVE_INFINITY;
    for (let g = 0; g < gpus; g++) {
      const slot = out.indexOf(-1, g * slotsPerGpu);
      if (slot < 0 || slot >= (g + 1) * slotsPerGpu) continue;
      const load = this.#gpuLoad(g, out);
      if (load < lowest) {
        lowest = load;
        best = slot;
      }
    }
    if (best < 0) {
      for (let s = 0; s < out.length; s++) {
        if (this.#counts[out[s]!]! > 1 && (best < 0 || this.#missed(out[s]!) < this.#missed(out[best]!)))
          best = s;
      }
      this.#counts[out[best]!]!--;
    }
    out[best] = expert;
    this.#counts[expert] = 1;
  }

  /** The expert with the largest replicas that the slot's GPU does not hold. */
  #fill(slot: number, out: Int32Array): void {
    const { experts, slotsPerGpu } = this.#sizes;
    const first = Math.floor(slot / slotsPerGpu) * slotsPerGpu;
    const held = out.subarray(first, first + slotsPerGpu);
    let best = -1;
    for (let e = 0; e < experts; e++) {
      if (held.includes(e)) continue;
      if (best < 0 || this.#weights[e]! / this.#counts[e]! > this.#weights[best]! / this.#counts[best]!)
        best = e;
    }
    if (best < 0) best = held.find((e) => e >= 0) ?? 0;
    out[slot] = best;
    this.#counts[best]!++;
  }

  #gpuLoad(gpu: number, out: Int32Array): number {
    const { slotsPerGpu } = this.#sizes;
    let sum = 0;
    for (let s = gpu * slotsPerGpu; s < (gpu + 1) * slotsPerGpu; s++) {
      if (out[s]! >= 0) sum += this.#weights[out[s]!]! / Math.max(1, this.#counts[out[s]!]!);
    }
    return sum;
  }
}
