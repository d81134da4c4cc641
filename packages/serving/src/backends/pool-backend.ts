import { randomInt } from 'node:crypto';
import type { BackendHealth, BackendMetrics, ServedModel } from '../backend.js';
import { type Clock, systemClock } from '../clock.js';
import type { ServingError } from '../errors.js';
import type { ForwardAnswer, ForwardingBackend, ForwardOptions, ForwardRequest } from '../forward.js';
import type { GatewayObserver, WorkerRole } from '../observer.js';
import type { RoutingHint } from '../policies/policy.js';
import { type Random, seededRandom } from '../random.js';
import type { HealthOptions } from '../upstream/health-checks.js';
import type { Timeouts, Worker } from '../upstream/worker.js';
import type { WorkerPool } from '../upstream/worker-pool.js';
import { ModelCatalog } from './model-catalog.js';
import { type Attempt, type FailedAttempt, type RetryOptions, withRetries } from './retry.js';

/** Options that all pools share. */
export interface PoolBackendOptions {
  readonly name: string;
  /** Default: what the servers list at `/v1/models`. */
  readonly models?: readonly string[];
  readonly timeouts?: Timeouts;
  readonly retry?: RetryOptions;
  readonly breaker?: { readonly failures?: number; readonly openSeconds?: number };
  /** Default: `GET /health` every 5 s. */
  readonly health?: HealthOptions | false;
  readonly clock?: Clock;
  /** Draws workers and delays; default: a generator with a seed from the system. */
  readonly random?: Random;
}

/** What the tries of one request share. */
export interface RequestScope {
  readonly request: ForwardRequest;
  readonly options: ForwardOptions;
  readonly hint: RoutingHint;
  /** Servers that failed this request, by role. */
  readonly tried: Readonly<Record<WorkerRole, Set<Worker>>>;
}

/** The part that pools of all kinds have in common. */
export abstract class PoolBackend implements ForwardingBackend {
  readonly name: string;
  protected readonly clock: Clock;
  protected readonly random: Random;
  /** Told of breakers and health. */
  protected readonly observer: GatewayObserver;
  readonly #retry: RetryOptions;
  readonly #watchers: GatewayObserver[] = [];
  #catalog: ModelCatalog | undefined;
  readonly #models: readonly string[] | undefined;

  constructor(options: PoolBackendOptions) {
    this.name = options.name;
    this.clock = options.clock ?? systemClock;
    this.random = options.random ?? seededRandom(randomInt(2 ** 32));
    this.observer = {
      observe: (event) => {
        for (const observer of this.#watchers) observer.observe(event);
      },
    };
    this.#retry = options.retry ?? {};
    this.#models = options.models;
  }

  /** All pools; the first one is chosen from by policy, the last one answers clients. */
  protected abstract get pools(): readonly [...WorkerPool[], WorkerPool];

  /** One try at a request; throws what no other try can change. */
  protected abstract attempt(scope: RequestScope, attempt: number): Promise<Attempt>;

  async forward(request: ForwardRequest, options: ForwardOptions): Promise<ForwardAnswer> {
    const scope: RequestScope = {
      request,
      options,
      hint: routingHint(request, this.pools[0].sessionHeader),
      tried: { whole: new Set(), prefill: new Set(), decode: new Set() },
    };
    return this.withRetries(scope, (attempt) => this.attempt(scope, attempt));
  }

  protected withRetries(
    { request, options }: RequestScope,
    run: (attempt: number) => Promise<Attempt>,
  ): Promise<ForwardAnswer> {
    return withRetries(run, {
      options: this.#retry,
      random: this.random,
      signal: options.signal,
      onRetry: ({ worker, result }, attempt, delaySeconds) =>
        options.observer.observe({
          type: 'retry',
          requestId: request.requestId,
          atUs: this.clock.nowUs(),
          backend: this.name,
          worker,
          attempt,
          reason: result.code,
          delaySeconds,
        }),
    });
  }

  /** Chooses a server and says so. */
  protected pick(scope: RequestScope, pool: WorkerPool, role: WorkerRole, attempt: number): Worker {
    const worker = pool.pick(scope.hint, scope.tried[role]);
    scope.tried[role].add(worker);
    scope.options.observer.observe({
      type: 'routed',
      requestId: scope.request.requestId,
      atUs: this.clock.nowUs(),
      backend: this.name,
      worker: worker.name,
      role,
      attempt,
    });
    return worker;
  }

  protected failed(
    scope: RequestScope,
    worker: Worker,
    result: ServingError | Extract<ForwardAnswer, { type: 'error' }>,
    other: { readonly pool: WorkerPool; readonly role: WorkerRole },
  ): FailedAttempt {
    return {
      type: 'failed',
      worker: worker.name,
      result,
      isInstant: result.code === 'serving/upstream-reset' || result.code === 'serving/upstream-unreachable',
      hasOther: other.pool.hasFresh(scope.tried[other.role]),
    };
  }

  watch(observer: GatewayObserver): void {
    this.#watchers.push(observer);
  }

  serves(model: string): boolean | undefined {
    return this.#models?.includes(model) ?? this.#known().serves(model);
  }

  async models(): Promise<readonly ServedModel[]> {
    return this.#models?.map((id) => ({ id, ownedBy: this.name })) ?? (await this.#known().cards());
  }

  #known(): ModelCatalog {
    this.#catalog ??= new ModelCatalog(this.pools.at(-1)!, this.clock);
    return this.#catalog;
  }

  metrics(): BackendMetrics {
    return { runningRequests: this.pools.at(-1)!.running, waitingRequests: 0 };
  }

  health(): BackendHealth {
    const down = this.pools.filter((pool) => !pool.isUp);
    if (down.length === 0) return { status: 'ok' };
    return { status: 'failed', detail: `no server of ${this.name} is up` };
  }

  async close(): Promise<void> {
    await Promise.all(this.pools.map((pool) => pool.close()));
  }
}

/** What policies look at; the prompt is read only if a policy wants it. */
function routingHint({ body, header }: ForwardRequest, sessionHeader = 'x-session-id'): RoutingHint {
  const session = header(sessionHeader) ?? body.get('prompt_cache_key') ?? body.get('user');
  return {
    get prompt() {
      return body.raw('messages') ?? body.raw('prompt') ?? '';
    },
    ...(typeof session === 'string' && session !== '' && { session }),
  };
}

/** Headers of a leg: the gateway's id, and the trace it belongs to. Nothing else of a client's headers goes on. */
export function legHeaders(request: ForwardRequest, requestId: string): Record<string, string> {
  const headers: Record<string, string> = { 'x-request-id': requestId };
  for (const name of ['traceparent', 'tracestate']) {
    const value = request.header(name);
    if (value !== undefined && value.length <= 2048) headers[name] = value;
  }
  return headers;
}

/** Runs `onAbort` when the signal aborts, at once if it has; the result ends that. */
export function whenAborted(signal: AbortSignal, onAbort: () => void): () => void {
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  return () => signal.removeEventListener('abort', onAbort);
}
