import { type EndedRequest, RequestTracker } from '../metrics/request-tracker.js';
import type { GatewayEvent, GatewayObserver } from '../observer.js';

/** Keeps the last requests that ended, for traces. They hold times and counts, no text. */
export class RequestLog implements GatewayObserver {
  readonly #requests: EndedRequest[] = [];
  readonly #tracker = new RequestTracker((request) => {
    this.#requests.push(request);
    if (this.#requests.length > this.#capacity) this.#requests.shift();
  });
  readonly #capacity: number;

  constructor(capacity = 1000) {
    this.#capacity = capacity;
  }

  observe(event: GatewayEvent): void {
    this.#tracker.observe(event);
  }

  /** The requests, in order of their ends. */
  get requests(): readonly EndedRequest[] {
    return this.#requests;
  }
}
