import { type Clock, systemClock } from '../clock.js';
import { noWorker } from '../errors.js';
import type { GatewayObserver } from '../observer.js';
import type { Policy, RoutingHint } from '../policies/policy.js';
import { HealthChecks, type HealthOptions } from './health-checks.js';
import { type Timeouts, Worker, type WorkerOptions } from './worker.js';

/** Options of a {@link WorkerPool}. */
export interface WorkerPoolOptions {
  readonly backend: string;
  /** Named in errors: `prefill`, `decode`, or nothing. */
  readonly role: string;
  readonly workers: readonly WorkerOptions[];
  readonly policy: Policy;
  readonly timeouts?: Timeouts;
  readonly breaker?: { readonly failures?: number; readonly openSeconds?: number };
  readonly health?: HealthOptions | false;
  readonly observer: GatewayObserver;
  readonly clock?: Clock;
}

/** Servers of one kind: those that are up, and the policy that chooses among them. */
export class WorkerPool {
  readonly workers: readonly Worker[];
  readonly #backend: string;
  readonly #role: string;
  readonly #policy: Policy;
  readonly #checks: HealthChecks | undefined;

  constructor(options: WorkerPoolOptions) {
    const { backend, role, observer, clock = systemClock } = options;
    this.#backend = backend;
    this.#role = role;
    this.#policy = options.policy;
    this.workers = options.workers.map(
      (worker, index) =>
        new Worker(
          { ...worker, name: worker.name ?? `${role === '' ? 'server' : role}-${index}` },
          {
            clock,
            ...(options.timeouts && { timeouts: options.timeouts }),
            ...(options.breaker && { breaker: options.breaker }),
            onBreaker: ({ name }, from, to) =>
              observer.observe({ type: 'breaker', atUs: clock.nowUs(), backend, worker: name, from, to }),
          },
        ),
    );
    if (options.health !== false) {
      this.#checks = new HealthChecks(this.workers, options.health ?? {}, (worker, healthy, detail) =>
        observer.observe({
          type: 'health',
          atUs: clock.nowUs(),
          backend,
          worker: worker.name,
          healthy,
          ...(detail !== undefined && { detail }),
        }),
      );
    }
  }

  /** Header that names a request's session. */
  get sessionHeader(): string | undefined {
    return this.#policy.sessionHeader;
  }

  /**
   * A worker for a request, one that has not been tried for it if there is one.
   *
   * @throws {@link ServingError} 503 `serving/no-worker` when none is up.
   */
  pick(hint: RoutingHint, tried?: ReadonlySet<Worker>): Worker {
    const ready = this.workers.filter((worker) => worker.isReady);
    if (ready.length === 0) throw noWorker(this.#backend, this.#role, this.#waitSeconds());
    const fresh = tried === undefined || tried.size === 0 ? ready : ready.filter((one) => !tried.has(one));
    return this.#policy.choose(fresh.length > 0 ? fresh : ready, hint);
  }

  /** Whether {@link pick} would find a worker that was not tried. */
  hasFresh(tried: ReadonlySet<Worker>): boolean {
    return this.workers.some((worker) => worker.isReady && !tried.has(worker));
  }

  get running(): number {
    return this.workers.reduce((sum, worker) => sum + worker.running, 0);
  }

  get isUp(): boolean {
    return this.workers.some((worker) => worker.isReady);
  }

  async close(): Promise<void> {
    this.#checks?.stop();
    await Promise.all(this.workers.map((worker) => worker.close()));
  }

  #waitSeconds(): number {
    const waits = this.workers.map((worker) => (worker.isHealthy ? worker.breaker.waitSeconds : 5));
    return Math.max(1, Math.ceil(Math.min(...waits)));
  }
}
