import { FairQueue } from './fair-queue.js';
import type { FairnessConfig } from './types.js';
import { WaitingQueue } from './waiting-queue.js';

/**
 * Everything that waits for admission, highest priority first. Of equal priority, requests that were put back come
 * before new ones; new ones follow in order of arrival, or as fairness between tenants says.
 */
export class AdmissionQueue {
  readonly #ordered: WaitingQueue;
  readonly #fair: FairQueue | undefined;
  readonly #decodeCost: number;
  /** 1 for slots in the fair queue. */
  readonly #isFair: Uint8Array;
  readonly #priorities: Float64Array;
  readonly #tokensOf: Int32Array;
  #tokens = 0;

  constructor(capacity: number, fairness: FairnessConfig | undefined) {
    this.#ordered = new WaitingQueue(capacity);
    this.#fair = fairness && new FairQueue(capacity, fairness.maxTenants);
    this.#decodeCost = fairness?.decodeCost ?? 1;
    this.#isFair = new Uint8Array(capacity);
    this.#priorities = new Float64Array(capacity);
    this.#tokensOf = new Int32Array(capacity);
  }

  get size(): number {
    return this.#ordered.size + (this.#fair === undefined ? 0 : this.#fair.size);
  }

  /** Tokens of all that waits. */
  get tokens(): number {
    return this.#tokens;
  }

  /** The slot to admit next, -1 if none waits. */
  peek(): number {
    const first = this.#ordered.peek();
    if (this.#fair === undefined) return first;
    const fair = this.#fair.peek();
    if (first < 0 || fair < 0) return Math.max(first, fair);
    return this.#priorities[fair]! > this.#priorities[first]! ? fair : first;
  }

  pushBack(slot: number, priority: number, tenant: number, tokens: number): void {
    this.#count(slot, tokens);
    this.#priorities[slot] = priority;
    this.#isFair[slot] = this.#fair === undefined ? 0 : 1;
    if (this.#fair === undefined) this.#ordered.pushBack(slot, priority);
    else this.#fair.push(slot, priority, tenant);
  }

  pushFront(slot: number, priority: number, tokens: number): void {
    this.#count(slot, tokens);
    this.#priorities[slot] = priority;
    this.#isFair[slot] = 0;
    this.#ordered.pushFront(slot, priority);
  }

  /** Removes a slot that is in the queue. */
  remove(slot: number): void {
    this.#tokens -= this.#tokensOf[slot]!;
    if (this.#isFair[slot] === 1) this.#fair!.remove(slot);
    else this.#ordered.remove(slot);
  }

  #count(slot: number, tokens: number): void {
    this.#tokensOf[slot] = tokens;
    this.#tokens += tokens;
  }

  /** Charges a tenant for prompt tokens. */
  chargePrompt(tenant: number, tokens: number): void {
    this.#fair?.charge(tenant, tokens);
  }

  /** Charges a tenant for generated tokens. */
  chargeGenerated(tenant: number, tokens: number): void {
    this.#fair?.charge(tenant, tokens * this.#decodeCost);
  }

  setWeight(tenant: number, weight: number): void {
    this.#fair?.setWeight(tenant, weight);
  }

  servedOf(tenant: number): number {
    return this.#fair === undefined ? 0 : this.#fair.servedOf(tenant);
  }
}
