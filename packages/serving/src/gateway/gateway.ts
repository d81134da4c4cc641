import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { OpenAPIHono } from '@hono/zod-openapi';
import { Admission } from '../auth/admission.js';
import { type Clock, systemClock } from '../clock.js';
import { dashboardPaths } from '../dashboard/routes.js';
import { draining, ServingError } from '../errors.js';
import { errorResponse } from '../http/error-response.js';
import { BackendSet, isForwarding } from './backend-set.js';
import { addGenerationRoutes } from './generation-routes.js';
import { InFlight } from './in-flight.js';
import { addInfoRoutes } from './info-routes.js';
import { Monitor } from './monitor.js';
import { nodeHandler } from './node-handler.js';
import type { GatewayContext, GatewayEnv, GatewayOptions } from './options.js';
import { addResponsesRoute } from './responses-route.js';

/** An OpenAI-compatible HTTP application over a backend; {@link listen} puts it on a port. */
export interface Gateway {
  /** The hono application, to be mounted in another one. */
  readonly app: OpenAPIHono<GatewayEnv>;
  /**
   * Answers one request.
   *
   * @param env - of the server: with node's `incoming` message in it, the dashboard knows who asks.
   */
  readonly fetch: (request: Request, env?: object) => Response | Promise<Response>;
  /**
   * Takes a request of node's own server if it can be passed on to a pool without detours; {@link listen} asks it first.
   *
   * @returns whether it was taken.
   */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Counts an answer that the server around the gateway gave itself, as {@link listen} does for a wrong `Host`. */
  readonly count: (url: string, status: number) => void;
  /** Requests being answered. */
  readonly requestsInFlight: number;
  /**
   * Refuses new requests with 503, waits for those in flight, and after `drainSeconds` ends them with an error frame.
   * Does not close the backend.
   */
  drain(options?: { drainSeconds?: number }): Promise<void>;
}

const defaultMaxBodyBytes = 8 * 1024 * 1024;
const defaultDrainSeconds = 30;

/**
 * Builds the gateway: `/v1/chat/completions`, `/v1/completions`, `/v1/responses`, `/v1/models`, `/health`, `/metrics`,
 * `/openapi.json`, and with `dashboard` the page at `/`.
 *
 * @example
 * ```ts
 * import { createGateway, listen } from '@moestack/serving';
 * import { createEmbeddedBackend } from '@moestack/serving/embedded';
 * import { tinyMoe } from '@moestack/tiny-moe';
 *
 * const backend = await createEmbeddedBackend({ modelDirectory: tinyMoe });
 * const server = await listen(createGateway({ backend }), { port: 0 });
 * console.log(server.url);
 * await server.close();
 * await backend.close();
 * ```
 */
export function createGateway(options: GatewayOptions): Gateway {
  const clock: Clock = options.clock ?? systemClock;
  const inFlight = new InFlight();
  let isDraining = false;
  const backends = new BackendSet('name' in options.backend ? [options.backend] : options.backend);
  const monitor = new Monitor(options, backends, clock, (options.keys?.length ?? 0) > 0);
  for (const backend of backends.all) if (isForwarding(backend)) backend.watch?.(monitor.observer);
  const context: GatewayContext = {
    backends,
    admission: new Admission({
      clock,
      ...(options.keys && { keys: options.keys }),
      ...(options.limits && { limits: options.limits }),
    }),
    guardrail: options.guardrail,
    observer: monitor.observer,
    metrics: monitor.metrics,
    monitor,
    inFlight,
    clock,
    maxBodyBytes: options.maxBodyBytes ?? defaultMaxBodyBytes,
    newId: options.newId ?? randomUUID,
    onError: options.onError ?? (() => undefined),
    createdSeconds: clock.unixSeconds(),
    isDraining: () => isDraining,
  };
  const routes = { ...apiRoutes, ...(monitor.dashboard !== undefined && pageRoutes) };
  const app = createApp(context, routes);
  return {
    app,
    fetch: (request, env) => app.fetch(request, env),
    handle: nodeHandler(context),
    count: (url, status) => monitor.metrics.response(knownRoute(url.split('?', 1)[0]!, routes), status),
    get requestsInFlight() {
      return inFlight.size;
    },
    async drain({ drainSeconds = defaultDrainSeconds } = {}) {
      isDraining = true;
      const timer = setTimeout(() => inFlight.abortAll(draining()), drainSeconds * 1000);
      await inFlight.idle();
      clearTimeout(timer);
      monitor.stop();
    },
  };
}

function createApp(context: GatewayContext, routes: Routes): OpenAPIHono<GatewayEnv> {
  const app = new OpenAPIHono<GatewayEnv>();
  app.use(async (c, next) => {
    c.set('requestId', context.newId());
    await next();
    context.metrics.response(knownRoute(c.req.path, routes), c.res.status);
  });
  addInfoRoutes(app, context);
  addGenerationRoutes(app, context);
  addResponsesRoute(app, context);
  context.monitor.addRoutes(app);
  app.onError((error, c) => {
    const requestId = c.get('requestId');
    // 499 as nginx has it: nobody reads this answer.
    if (c.req.raw.signal.aborted) return new Response(null, { status: 499 });
    const response = errorResponse(error, requestId);
    if (response.status >= 500) context.onError(error, requestId);
    return response;
  });
  app.notFound((c) => {
    const methods = allowedMethods(c.req.path, routes);
    const error = methods === undefined ? notFound(c.req.path) : wrongMethod(c.req.method, methods);
    const response = errorResponse(error, c.get('requestId'));
    if (methods !== undefined) response.headers.set('allow', methods);
    return response;
  });
  return app;
}

type Routes = Readonly<Record<string, string>>;

const pageRoutes: Routes = Object.fromEntries(dashboardPaths.map((path) => [path, 'GET, HEAD']));

const apiRoutes: Routes = {
  '/v1/chat/completions': 'POST',
  '/v1/completions': 'POST',
  '/v1/responses': 'POST',
  '/v1/models': 'GET, HEAD',
  '/health': 'GET, HEAD',
  '/metrics': 'GET, HEAD',
  '/openapi.json': 'GET, HEAD',
};

function allowedMethods(path: string, routes: Routes): string | undefined {
  if (Object.hasOwn(routes, path)) return routes[path];
  return path.startsWith('/v1/models/') ? 'GET, HEAD' : undefined;
}

/** Keeps the label set of the metrics bounded, whatever paths clients ask for. */
function knownRoute(path: string, routes: Routes): string {
  if (path.startsWith('/v1/models/')) return '/v1/models/{model}';
  return Object.hasOwn(routes, path) ? path : 'other';
}

function notFound(path: string): ServingError {
  return new ServingError({
    code: 'serving/unknown-route',
    openAiCode: 'unknown_url',
    message: `there is nothing at ${JSON.stringify(path.slice(0, 120))}`,
    remedy: `use one of: ${Object.keys(apiRoutes).join(', ')}`,
    status: 404,
  });
}

function wrongMethod(method: string, allowed: string): ServingError {
  return new ServingError({
    code: 'serving/wrong-method',
    openAiCode: 'method_not_allowed',
    message: `the method ${method} does not work here`,
    remedy: `use ${allowed}`,
    value: method,
    status: 405,
  });
}
