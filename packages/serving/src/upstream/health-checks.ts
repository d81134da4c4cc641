import type { Worker } from './worker.js';

/** How servers are asked whether they are well. */
export interface HealthOptions {
  /** Default `/health`. */
  readonly path?: string;
  /** Default 5. */
  readonly intervalSeconds?: number;
  /** Default 2. */
  readonly timeoutSeconds?: number;
  /** Failed checks in a row that take a worker out; default 2. */
  readonly failures?: number;
}

/** Asks each worker from time to time whether it is well. Keeps no process alive. */
export class HealthChecks {
  readonly #options: Required<HealthOptions>;
  readonly #onChange: (worker: Worker, healthy: boolean, detail?: string) => void;
  readonly #timers = new Map<Worker, NodeJS.Timeout>();
  readonly #stop = new AbortController();

  constructor(
    workers: readonly Worker[],
    options: HealthOptions,
    onChange: (worker: Worker, healthy: boolean, detail?: string) => void,
  ) {
    this.#options = {
      path: options.path ?? '/health',
      intervalSeconds: options.intervalSeconds ?? 5,
      timeoutSeconds: options.timeoutSeconds ?? 2,
      failures: options.failures ?? 2,
    };
    this.#onChange = onChange;
    for (const worker of workers) this.#schedule(worker, 0);
  }

  stop(): void {
    this.#stop.abort();
    for (const timer of this.#timers.values()) clearTimeout(timer);
  }

  #schedule(worker: Worker, failed: number): void {
    if (this.#stop.signal.aborted) return;
    const timer = setTimeout(() => void this.#check(worker, failed), this.#options.intervalSeconds * 1000);
    timer.unref();
    this.#timers.set(worker, timer);
  }

  async #check(worker: Worker, failed: number): Promise<void> {
    const detail = await this.#ask(worker);
    if (this.#stop.signal.aborted) return;
    const failures = detail === undefined ? 0 : failed + 1;
    const healthy = failures < this.#options.failures;
    if (healthy !== worker.isHealthy && (healthy ? failures === 0 : true)) {
      worker.isHealthy = healthy;
      this.#onChange(worker, healthy, detail);
    }
    this.#schedule(worker, failures);
  }

  /** What is wrong, if anything. */
  async #ask(worker: Worker): Promise<string | undefined> {
    const { path, timeoutSeconds } = this.#options;
    const timeout = AbortSignal.timeout(timeoutSeconds * 1000);
    try {
      const { statusCode, body } = await worker.connections.request({
        path: worker.pathPrefix + path,
        method: 'GET',
        signal: AbortSignal.any([timeout, this.#stop.signal]),
        ...(worker.authorization !== undefined && { headers: { authorization: worker.authorization } }),
      });
      await body.dump();
      return statusCode < 400 ? undefined : `status ${statusCode}`;
    } catch (error) {
      return timeout.aborted ? 'no answer in time' : error instanceof Error ? error.message : String(error);
    }
  }
}
