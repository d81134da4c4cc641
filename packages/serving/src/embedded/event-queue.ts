import type { BackendEvent } from '../backend.js';

type Delta = Extract<BackendEvent, { type: 'delta' }>;

/**
 * Events of one generation on their way to a reader. Texts that wait are joined, so that a slow reader costs at most
 * the memory of one continuation, and one wake-up.
 */
export class EventQueue {
  #start: BackendEvent | undefined;
  #delta: Delta | undefined;
  #last: BackendEvent | undefined;
  #error: { reason: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** The first event. */
  start(event: BackendEvent): void {
    this.#start = event;
    this.#notify();
  }

  pushDelta(delta: Delta): void {
    const waiting = this.#delta;
    if (waiting === undefined) this.#delta = delta;
    else {
      const logprobs = delta.logprobs && [...(waiting.logprobs ?? []), ...delta.logprobs];
      this.#delta = { type: 'delta', text: waiting.text + delta.text, ...(logprobs && { logprobs }) };
    }
    this.#notify();
  }

  /** The last event. */
  finish(event: BackendEvent): void {
    this.#last = event;
    this.#notify();
  }

  /** Ends in an error, after what already waits is dropped. */
  fail(reason: unknown): void {
    this.#error ??= { reason };
    this.#notify();
  }

  /** The next event; for one reader. */
  async next(): Promise<BackendEvent> {
    for (;;) {
      if (this.#error !== undefined) throw this.#error.reason;
      const event = this.#start ?? this.#delta ?? this.#last;
      if (event !== undefined) {
        if (this.#start !== undefined) this.#start = undefined;
        else this.#delta = undefined;
        return event;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
