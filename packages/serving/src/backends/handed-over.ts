import type { BodyConsumer, BodySource, Leg } from '../upstream/leg.js';

/**
 * A decode leg that has KV blocks of a prefill server to fetch. Until its first byte nobody knows whether the decode
 * server has taken them over; a leg cut before that leaves them pinned on the prefill server until a lease ends. So
 * a client that leaves early is outlived by its leg: it is cancelled when the first byte has come, or after a grace.
 */
export class HandedOver implements BodySource, BodyConsumer {
  readonly #leg: Leg;
  readonly #graceMs: number;
  readonly #onRelease: () => void;
  #consumer: BodyConsumer | undefined;
  #isTaken = false;
  #reason: unknown;
  #isReleasing = false;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param onRelease - the client left before the first byte.
   */
  constructor(leg: Leg, graceSeconds: number, onRelease: () => void) {
    this.#leg = leg;
    this.#graceMs = graceSeconds * 1000;
    this.#onRelease = onRelease;
  }

  consume(consumer: BodyConsumer): void {
    this.#consumer = consumer;
    this.#leg.consume(this);
  }

  resume(): void {
    this.#leg.resume();
  }

  abort(reason: unknown): void {
    if (this.#isReleasing) return;
    const wasConsumed = this.#consumer !== undefined;
    this.#consumer = undefined;
    if (this.#isTaken || this.#leg.isDone) {
      this.#leg.abort(reason);
      return;
    }
    this.#isReleasing = true;
    this.#reason = reason;
    this.#onRelease();
    this.#timer = setTimeout(() => this.#leg.abort(reason), this.#graceMs);
    if (!wasConsumed) this.#leg.consume(this);
    void this.#leg.settled.then(() => clearTimeout(this.#timer));
  }

  data(chunk: Uint8Array): boolean {
    this.#isTaken = true;
    if (this.#isReleasing) {
      this.#leg.abort(this.#reason);
      return true;
    }
    return this.#consumer?.data(chunk) ?? true;
  }

  end(): void {
    this.#consumer?.end();
  }

  error(error: unknown): void {
    this.#consumer?.error(error);
  }
}
