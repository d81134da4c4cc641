import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Clock } from '../clock.js';
import type { AdminAccess } from '../dashboard/access.js';
import { Dashboard } from '../dashboard/dashboard.js';
import { addDashboardRoutes } from '../dashboard/routes.js';
import type { SloTargets } from '../embedded/engine-stats.js';
import { BackendSource } from '../metrics/engine-source.js';
import { ServingMetrics } from '../metrics/serving-metrics.js';
import { type GatewayObserver, joinObservers } from '../observer.js';
import { AccessLog, type AccessLogEntry } from '../tracing/access-log.js';
import { RequestLog } from '../tracing/request-log.js';
import { type BackendSet, isForwarding } from './backend-set.js';
import type { GatewayEnv } from './options.js';

/** Spans that a gateway tells of its requests; `genAiSpans` of `@moestack/serving/otel` makes them. */
export interface RequestSpans extends GatewayObserver {
  /** The `traceparent` header that goes with a request to a server. */
  traceparent(requestId: string): string | undefined;
}

/** What a gateway shows of itself. */
export interface MonitorOptions {
  /** Told of everything that happens. */
  readonly observer?: GatewayObserver;
  /** Latencies that the dashboard compares with. */
  readonly slo?: SloTargets;
  /** The page at `/` with the live figures, and the trace at `/debug/trace`; default off. `true` = for this machine only. */
  readonly dashboard?: boolean | AdminAccess;
  /** Takes an entry for each request that ends; entries hold no text. */
  readonly accessLog?: (entry: AccessLogEntry) => void;
  readonly spans?: RequestSpans;
}

/** Everything that looks at a gateway. */
export class Monitor {
  readonly metrics: ServingMetrics;
  readonly observer: GatewayObserver;
  readonly spans: RequestSpans | undefined;
  readonly dashboard: Dashboard | undefined;
  readonly #engines: readonly BackendSource[];
  readonly #requests: RequestLog | undefined;
  readonly #access: AdminAccess;
  readonly #models = new Set<string>();

  constructor(options: MonitorOptions, backends: BackendSet, clock: Clock, needsKey: boolean) {
    const local = backends.all.flatMap((backend) => (isForwarding(backend) ? [] : [backend]));
    this.#engines = local.map((backend) => new BackendSource(backend));
    const localBackends = local.map(({ name }) => name);
    this.metrics = new ServingMetrics({
      engines: this.#engines,
      localBackends,
      isServed: (model) => this.#isServed(model, backends),
    });
    this.spans = options.spans;
    const { dashboard = false, accessLog, slo, observer } = options;
    this.#access = typeof dashboard === 'object' ? dashboard : {};
    if (dashboard !== false) {
      this.#requests = new RequestLog();
      this.dashboard = new Dashboard({
        clock,
        engines: this.#engines,
        localBackends,
        ...(slo !== undefined && { slo }),
        needsKey,
        health: () => backends.health(),
        describe: async () => {
          const models = await backends.models();
          const names = models.map(({ id }) => id);
          const longest = Math.max(0, ...models.map(({ contextTokens = 0 }) => contextTokens));
          return {
            model: names[0] ?? '',
            models: names,
            contextTokens: longest || null,
            backend: backends.name,
          };
        },
      });
    }
    this.observer = joinObservers(
      [
        this.metrics,
        this.spans,
        this.dashboard,
        this.#requests,
        accessLog === undefined ? undefined : new AccessLog(accessLog, clock),
        observer,
      ].filter((one) => one !== undefined),
    );
  }

  /** Adds the dashboard's routes, if there is one. */
  addRoutes(app: OpenAPIHono<GatewayEnv>): void {
    if (this.dashboard === undefined || this.#requests === undefined) return;
    addDashboardRoutes(app, {
      dashboard: this.dashboard,
      access: this.#access,
      engines: this.#engines,
      requests: this.#requests,
    });
    this.dashboard.start();
  }

  /** Ends what goes on by itself. */
  stop(): void {
    this.dashboard?.stop();
  }

  /** Clients name models as they like; those that a backend serves get figures of their own. */
  #isServed(model: string, backends: BackendSet): boolean {
    if (this.#models.has(model)) return true;
    const isKnown =
      this.#engines.some((engine) => engine.model === model) ||
      backends.all.some((backend) => isForwarding(backend) && backend.serves(model) === true);
    if (isKnown) this.#models.add(model);
    return isKnown;
  }
}
