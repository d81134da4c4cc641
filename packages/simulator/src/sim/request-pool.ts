/** Requests that are in the cluster, in columns; slots are used again, so memory follows their highest number and not the trace. */
export class RequestPool {
  arrivalUs = new Float64Array(1024);
  firstTokenUs = new Float64Array(1024);
  inputTokens = new Int32Array(1024);
  outputTokens = new Int32Array(1024);
  /** Prompt tokens whose KV was found in the prefix cache. */
  cachedTokens = new Int32Array(1024);
  #free: number[] = [];
  #used = 0;

  /** Requests in the cluster. */
  get size(): number {
    return this.#used - this.#free.length;
  }

  take(arrivalUs: number, inputTokens: number, outputTokens: number, cachedTokens: number): number {
    const slot = this.#free.pop() ?? this.#used++;
    if (slot >= this.arrivalUs.length) this.#grow();
    this.arrivalUs[slot] = arrivalUs;
    this.firstTokenUs[slot] = -1;
    this.inputTokens[slot] = inputTokens;
    this.outputTokens[slot] = outputTokens;
    this.cachedTokens[slot] = cachedTokens;
    return slot;
  }

  give(slot: number): void {
    this.#free.push(slot);
  }

  #grow(): void {
    const length = 2 * this.arrivalUs.length;
    this.arrivalUs = doubled(this.arrivalUs, new Float64Array(length));
    this.firstTokenUs = doubled(this.firstTokenUs, new Float64Array(length));
    this.inputTokens = doubled(this.inputTokens, new Int32Array(length));
    this.outputTokens = doubled(this.outputTokens, new Int32Array(length));
    this.cachedTokens = doubled(this.cachedTokens, new Int32Array(length));
  }
}

function doubled<T extends Float64Array | Int32Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
