import { badConfig, badShape, checkPlan, positiveInteger } from './operands.js';
import { planExperts } from './plan.js';
import type { Load, Plan } from './types.js';

/** Shape of an {@link ExpertLoadRecorder}. */
export interface ExpertLoadRecorderOptions {
  layers: number;
  experts: number;
  /** Length of a bucket; default 60. */
  bucketSeconds?: number;
  /** Closed buckets kept; default 60. */
  buckets?: number;
}

/**
 * Counts tokens per logical expert in a ring of time buckets. Counts of physical slots are mapped back by the plan that
 * was in force when they were taken, so windows stay right across rebalancing.
 */
export class ExpertLoadRecorder {
  readonly layers: number;
  readonly experts: number;
  readonly bucketUs: number;
  readonly #ring: Float64Array[];
  /** Index of the open bucket since the start; bucket i lies at i modulo the ring. */
  #open = 0;
  #startUs: number | undefined;

  constructor(options: ExpertLoadRecorderOptions) {
    const { layers, experts, bucketSeconds = 60, buckets = 60 } = options;
    this.layers = positiveInteger('layers', layers);
    this.experts = positiveInteger('experts', experts);
    positiveInteger('buckets', buckets);
    if (!(bucketSeconds > 0 && bucketSeconds <= 86_400)) {
      throw badConfig(
        `expected bucketSeconds of up to a day, got ${bucketSeconds}`,
        String(bucketSeconds),
        'use 60',
      );
    }
    this.bucketUs = Math.round(bucketSeconds * 1e6);
    this.#ring = Array.from({ length: buckets + 1 }, () => new Float64Array(layers * experts));
  }

  /** Number of closed buckets kept at most. */
  get capacity(): number {
    return this.#ring.length - 1;
  }

  /** Buckets closed since the start, including those no longer kept. */
  get closedBuckets(): number {
    return this.#open;
  }

  /** Moves on to `nowUs`, closing buckets on the way; returns how many. The first call starts the clock. */
  advance(nowUs: number): number {
    if (!Number.isFinite(nowUs))
      throw badConfig('expected a finite time', String(nowUs), 'pass microseconds');
    if (this.#startUs === undefined) this.#startUs = nowUs;
    const target = Math.max(this.#open, Math.floor((nowUs - this.#startUs) / this.bucketUs));
    const closed = target - this.#open;
    // After a long silence the whole ring is empty: no need to walk through every bucket of it.
    for (let i = Math.max(this.#open + 1, target - this.capacity); i <= target; i++) {
      this.#ring[i % this.#ring.length]!.fill(0);
    }
    this.#open = target;
    return closed;
  }

  /** Adds tokens per logical expert of one layer, [experts], to the open bucket. */
  recordLogical(layer: number, counts: ArrayLike<number>): void {
    this.#check(layer, counts, this.experts);
    const bucket = this.#ring[this.#open % this.#ring.length]!;
    const first = layer * this.experts;
    for (let e = 0; e < this.experts; e++) bucket[first + e]! += counts[e]!;
  }

  /** Adds tokens per physical slot of one layer, [replicas], counted under `plan`. */
  recordPhysical(layer: number, counts: ArrayLike<number>, plan: Plan): void {
    const { replicas } = plan.deployment;
    this.#check(layer, counts, replicas);
    if (planExperts(plan) !== this.experts || plan.layers !== this.layers) checkPlan(plan, this.experts);
    const bucket = this.#ring[this.#open % this.#ring.length]!;
    const first = layer * this.experts;
    for (let s = 0; s < replicas; s++) {
      bucket[first + plan.physicalToLogical[layer * replicas + s]!]! += counts[s]!;
    }
  }

  #check(layer: number, counts: ArrayLike<number>, length: number): void {
    if (!Number.isInteger(layer) || layer < 0 || layer >= this.layers) {
      throw badShape(`expected a layer below ${this.layers}, got ${layer}`, layer, 'pass a row of the load');
    }
    if (counts.length !== length) {
      throw badShape(`expected ${length} counts, got ${counts.length}`, counts.length, 'pass one count each');
    }
    for (let i = 0; i < length; i++) {
      if (!(counts[i]! >= 0 && counts[i]! < Number.POSITIVE_INFINITY)) {
        throw badShape(
          `expected finite counts of at least 0, got ${counts[i]}`,
          String(counts[i]),
          'pass token counts',
        );
      }
    }
  }

  /** The counts of one closed bucket, [layers, experts]; valid until the ring comes round. */
  bucket(index: number): Float64Array {
    if (!Number.isInteger(index) || index < 0 || index >= this.#open || index < this.#open - this.capacity) {
      throw badConfig(
        `expected a closed bucket of ${Math.max(0, this.#open - this.capacity)} .. ${this.#open - 1}, got ${index}`,
        index,
        'keep more buckets, or read them earlier',
      );
    }
    return this.#ring[index % this.#ring.length]!;
  }

  /** Sum of the last closed buckets (all that are kept by default). */
  window(buckets: number = this.capacity): Load {
    positiveInteger('buckets', buckets);
    const counts = new Float64Array(this.layers * this.experts);
    const from = Math.max(0, this.#open - Math.min(buckets, this.capacity));
    for (let i = from; i < this.#open; i++) {
      const bucket = this.bucket(i);
      for (let k = 0; k < counts.length; k++) counts[k]! += bucket[k]!;
    }
    return { layers: this.layers, experts: this.experts, counts };
  }
}
