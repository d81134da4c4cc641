import { PairingHeaps } from './pairing-heaps.js';

/**
 * Slots of tenants that share the machine by weight: the virtual token counter of Sheng et al. (OSDI 2024).
 *
 * Each tenant has a counter of the tokens it was served, divided by its weight. Among the tenants whose next slot has
 * the highest priority, the one with the lowest counter is next; within a tenant it is priority, then arrival. A tenant
 * that comes back from idling is lifted to the lowest counter of those that wait, so that idling saves nothing up.
 */
export class FairQueue {
  readonly #heaps: PairingHeaps;
  readonly #roots: Int32Array;
  readonly #tenants: Int32Array;
  readonly #priorities: Float64Array;
  readonly #orders: Float64Array;
  readonly #counters: Float64Array;
  readonly #weights: Float64Array;
  readonly #served: Float64Array;
  /** Tenants with slots, in no order, and each one's place there. */
  readonly #waiting: Int32Array;
  readonly #places: Int32Array;
  #waitingCount = 0;
  #lastTenant = -1;
  #size = 0;
  #nextOrder = 0;
  /** The next slot, -1 = to be looked for. */
  #best = -1;

  constructor(capacity: number, tenants: number) {
    this.#tenants = new Int32Array(capacity);
    this.#priorities = new Float64Array(capacity);
    this.#orders = new Float64Array(capacity);
    this.#roots = new Int32Array(tenants).fill(-1);
    this.#counters = new Float64Array(tenants);
    this.#weights = new Float64Array(tenants).fill(1);
    this.#served = new Float64Array(tenants);
    this.#waiting = new Int32Array(tenants);
    this.#places = new Int32Array(tenants);
    this.#heaps = new PairingHeaps(capacity, (a, b) => {
      const difference = this.#priorities[a]! - this.#priorities[b]!;
      return difference !== 0 ? difference > 0 : this.#orders[a]! < this.#orders[b]!;
    });
  }

  get size(): number {
    return this.#size;
  }

  /** Tokens that a tenant was charged for. */
  servedOf(tenant: number): number {
    return this.#served[tenant]!;
  }

  setWeight(tenant: number, weight: number): void {
    this.#weights[tenant] = weight;
  }

  /** Charges a tenant for tokens. */
  charge(tenant: number, tokens: number): void {
    this.#served[tenant]! += tokens;
    this.#counters[tenant]! += tokens / this.#weights[tenant]!;
    this.#best = -1;
  }

  push(slot: number, priority: number, tenant: number): void {
    this.#tenants[slot] = tenant;
    this.#priorities[slot] = priority;
    this.#orders[slot] = this.#nextOrder++;
    const root = this.#roots[tenant]!;
    if (root < 0) this.#enter(tenant);
    this.#roots[tenant] = this.#heaps.insert(root, slot);
    this.#size++;
    this.#best = -1;
  }

  /** Removes a slot that is in the queue. */
  remove(slot: number): void {
    const tenant = this.#tenants[slot]!;
    const root = this.#heaps.remove(this.#roots[tenant]!, slot);
    this.#roots[tenant] = root;
    if (root < 0) this.#exit(tenant);
    this.#size--;
    this.#best = -1;
  }

  /** The next slot, -1 if there is none. */
  peek(): number {
    if (this.#best < 0) this.#best = this.#find();
    return this.#best;
  }

  #find(): number {
    let best = -1;
    for (let i = 0; i < this.#waitingCount; i++) {
      const slot = this.#roots[this.#waiting[i]!]!;
      if (best < 0 || this.#precedes(slot, best)) best = slot;
    }
    return best;
  }

  #precedes(a: number, b: number): boolean {
    const byPriority = this.#priorities[a]! - this.#priorities[b]!;
    if (byPriority !== 0) return byPriority > 0;
    const byCounter = this.#counters[this.#tenants[a]!]! - this.#counters[this.#tenants[b]!]!;
    return byCounter !== 0 ? byCounter < 0 : this.#orders[a]! < this.#orders[b]!;
  }

  #enter(tenant: number): void {
    let least = this.#waitingCount > 0 ? Number.POSITIVE_INFINITY : 0;
    for (let i = 0; i < this.#waitingCount; i++) {
      least = Math.min(least, this.#counters[this.#waiting[i]!]!);
    }
    if (this.#waitingCount === 0 && this.#lastTenant >= 0) least = this.#counters[this.#lastTenant]!;
    if (least > this.#counters[tenant]!) this.#counters[tenant] = least;
    this.#places[tenant] = this.#waitingCount;
    this.#waiting[this.#waitingCount++] = tenant;
  }

  #exit(tenant: number): void {
    const place = this.#places[tenant]!;
    const moved = this.#waiting[--this.#waitingCount]!;
    this.#waiting[place] = moved;
    this.#places[moved] = place;
    this.#lastTenant = tenant;
  }
}
