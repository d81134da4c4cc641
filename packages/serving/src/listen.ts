import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener, RequestError } from '@hono/node-server';
import { badOption, ServingError } from './errors.js';
import type { Gateway } from './gateway/gateway.js';
import { errorResponse } from './http/error-response.js';
import { isHostAllowed, isLoopback, refuseHost } from './http/host-check.js';

const defaultHost = '127.0.0.1';
const defaultPort = 8000;

/** Options of {@link listen}. */
export interface ListenOptions {
  /** Default 127.0.0.1: only this machine reaches the server. */
  readonly host?: string;
  /** Default 8000; 0 = any free port. */
  readonly port?: number;
  /** Time for a client to send the head of a request; default 10. */
  readonly headSeconds?: number;
  /** Time for a client to send a whole request; default 60. */
  readonly requestSeconds?: number;
  /** How long a connection may wait for its next request; default 65, longer than the idle time of usual proxies. */
  readonly keepAliveSeconds?: number;
  /** Most connections at once; further ones are closed at once. Default 4096. */
  readonly maxConnections?: number;
  /**
   * Names besides loopback ones that `Host` may have while the server listens on a loopback address, such as that of a proxy
   * which passes the header on. Others get 403: a page could reach the server by a name that it lets resolve to 127.0.0.1.
   */
  readonly allowedHosts?: readonly string[];
}

/** A server that listens. */
export interface Listening {
  /** Such as `http://127.0.0.1:8000`. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /**
   * Stops accepting, lets requests in flight end within `drainSeconds` (default 30; then they get an error), closes.
   * Does not close the backend.
   */
  close(options?: { drainSeconds?: number }): Promise<void>;
}

/**
 * Puts a gateway on a port.
 *
 * @throws {@link ServingError} `serving/port-taken`, `serving/cannot-listen` for other reasons, or `serving/bad-options`.
 */
export async function listen(gateway: Gateway, options: ListenOptions = {}): Promise<Listening> {
  const { host = defaultHost, port = defaultPort } = options;
  const server = createGatewayServer(gateway, options);
  await bind(server, host, port);
  const address = server.address() as AddressInfo;
  let closing: Promise<void> | undefined;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${address.port}`,
    host,
    port: address.port,
    close: (closeOptions) => {
      closing ??= close(server, gateway, closeOptions);
      return closing;
    },
  };
}

function createGatewayServer(gateway: Gateway, options: ListenOptions): Server {
  const { host = defaultHost, headSeconds = 10, requestSeconds = 60, allowedHosts = [] } = options;
  const { keepAliveSeconds = 65, maxConnections = 4096 } = options;
  requirePositive({ headSeconds, requestSeconds, keepAliveSeconds, maxConnections });
  const allowed = new Set(allowedHosts.map((name) => name.toLowerCase()));
  const checksHost = isLoopback(host);
  const fetchListener = getRequestListener((request, env) => gateway.fetch(request, env), {
    overrideGlobalObjects: false,
    errorHandler: (error) =>
      errorResponse(error instanceof RequestError ? badTarget(error) : error, randomUUID()),
  });
  const server = createServer(
    {
      headersTimeout: headSeconds * 1000,
      requestTimeout: Math.max(headSeconds, requestSeconds) * 1000,
      connectionsCheckingInterval: Math.min(1000, headSeconds * 250),
      keepAliveTimeout: keepAliveSeconds * 1000,
      noDelay: true,
    },
    (request: IncomingMessage, response: ServerResponse) => {
      response.setHeader('x-content-type-options', 'nosniff');
      if (checksHost && !isHostAllowed(request.headers.host, allowed)) {
        refuseHost(request, response);
        gateway.count(request.url ?? '', response.statusCode);
      } else if (!gateway.handle(request, response)) void fetchListener(request, response);
    },
  );
  server.maxConnections = maxConnections;
  return server;
}

function requirePositive(values: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(values)) {
    // Node's timers hold 2^31 ms, and it takes 0 for no limit at all.
    if (value > 0 && value < 2 ** 31 / 1000) continue;
    throw badOption(name, value, 'a number above 0 and below 2,147,483');
  }
}

/**
 * Checks that a port can be bound, before time is spent on what will listen there.
 *
 * @throws {@link ServingError} as {@link listen} does.
 */
export async function requireFreePort(options: ListenOptions = {}): Promise<void> {
  const { host = defaultHost, port = defaultPort } = options;
  const server = createServer();
  await bind(server, host, port);
  await new Promise((resolve) => server.close(resolve));
}

async function bind(server: Server, host: string, port: number): Promise<void> {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw badPort(port);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(cannotListen(cause, host, port)));
    server.listen(port, host, resolve);
  });
}

async function close(server: Server, gateway: Gateway, options?: { drainSeconds?: number }): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  await gateway.drain(options);
  server.closeIdleConnections();
  // A client that does not read its last frames must not hold the shutdown up.
  const timer = setTimeout(() => server.closeAllConnections(), 1000);
  await closed;
  clearTimeout(timer);
}

function cannotListen(cause: NodeJS.ErrnoException, host: string, port: number): ServingError {
  if (cause.code === 'EADDRINUSE') {
    return new ServingError({
      code: 'serving/port-taken',
      message: `port ${port} on ${host} is taken`,
      remedy: 'stop what uses it, pass another port, or port 0 for any free one',
      value: port,
      cause,
    });
  }
  return new ServingError({
    code: 'serving/cannot-listen',
    message: `cannot listen on ${host}:${port}: ${cause.code ?? cause.message}`,
    remedy:
      cause.code === 'EACCES'
        ? 'pass a port above 1023'
        : 'pass an address of this machine, such as 127.0.0.1',
    value: `${host}:${port}`,
    cause,
  });
}

/** A request that has no URL, for its target or its `Host`. */
function badTarget(cause: RequestError): ServingError {
  return new ServingError({
    code: 'serving/bad-target',
    message: `the request cannot be read: ${cause.message}`,
    remedy: 'send a path that begins with / and a Host that is a name and a port',
    status: 400,
    cause,
  });
}

function badPort(port: number): ServingError {
  return new ServingError({
    code: 'serving/bad-port',
    message: `expected an integer from 0 to 65535 for port, got ${port}`,
    remedy: 'pass such a port; 0 means any free one',
    value: port,
  });
}
