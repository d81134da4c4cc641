import { setMaxListeners } from 'node:events';

/** The requests being answered, so that a shutdown can wait for them and then end them. */
export class InFlight {
  readonly #controllers = new Set<AbortController>();
  #idle: (() => void)[] = [];

  get size(): number {
    return this.#controllers.size;
  }

  /**
   * Registers a request.
   *
   * @param client - aborts when the client leaves.
   * @returns its signal, and `end`, to be called exactly when it is answered (further calls do nothing).
   */
  begin(client: AbortSignal): { signal: AbortSignal; abort: (reason: unknown) => void; end: () => void } {
    const controller = new AbortController();
    // Each of a request's choices listens; their number is bounded by `requestLimits`.
    setMaxListeners(0, controller.signal);
    const onAbort = () => controller.abort(client.reason);
    if (client.aborted) onAbort();
    else client.addEventListener('abort', onAbort, { once: true });
    this.#controllers.add(controller);
    return {
      signal: controller.signal,
      abort: (reason) => controller.abort(reason),
      end: () => {
        client.removeEventListener('abort', onAbort);
        if (!this.#controllers.delete(controller) || this.#controllers.size > 0) return;
        const waiting = this.#idle;
        this.#idle = [];
        for (const resolve of waiting) resolve();
      },
    };
  }

  /** Resolves when no request is in flight. */
  idle(): Promise<void> {
    if (this.#controllers.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  abortAll(reason: unknown): void {
    for (const controller of this.#controllers) controller.abort(reason);
  }
}
