import { Pool } from 'undici';
import { type Clock, systemClock } from '../clock.js';
import { badWorker } from '../errors.js';
import type { BreakerState } from '../observer.js';
import { Breaker } from './breaker.js';

/** A server to send requests to. */
export interface WorkerOptions {
  /** Address without `/v1`, such as `http://10.0.0.7:8000`; a path is put before every route. */
  readonly url: string;
  /** Default: host and port. */
  readonly name?: string;
  readonly apiKey?: string;
  /** Data-parallel ranks that requests can be pinned to; default 1: none is pinned. */
  readonly dataParallelRanks?: number;
  /** Where decode finds the bootstrap server of a prefill worker; default the host of the URL. */
  readonly bootstrapHost?: string;
  /** Default 8998; null where the server says so. */
  readonly bootstrapPort?: number | null;
}

/** Limits on waiting, in seconds. */
export interface Timeouts {
  /** Default 5. */
  readonly connectSeconds?: number;
  /** Request sent to the head of the answer; default 600. */
  readonly headSeconds?: number;
  /** Between two pieces of an answer; default 120. */
  readonly idleSeconds?: number;
  /** How long idle connections are kept; default 4, below the 5 of uvicorn, which closes without warning. */
  readonly keepAliveSeconds?: number;
}

/** Options that the workers of a pool share. */
export interface WorkerSettings {
  readonly timeouts?: Timeouts;
  readonly breaker?: { readonly failures?: number; readonly openSeconds?: number };
  readonly clock?: Clock;
  readonly onBreaker?: (worker: Worker, from: BreakerState, to: BreakerState) => void;
}

const defaultBootstrapPort = 8998;

/** One server of a pool, with its connections, load, health and breaker. */
export class Worker {
  readonly name: string;
  readonly origin: string;
  readonly pathPrefix: string;
  readonly authorization: string | undefined;
  readonly dataParallelRanks: number;
  /** In brackets for IPv6. */
  readonly bootstrapHost: string;
  readonly bootstrapPort: number | null;
  readonly connections: Pool;
  readonly breaker: Breaker;
  readonly headTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** Requests in flight. */
  running = 0;
  /** Set by health checks. */
  isHealthy = true;
  #nextRank = 0;

  /**
   * @throws {@link ServingError} `serving/bad-worker` for an address that cannot be used.
   */
  constructor(options: WorkerOptions, settings: WorkerSettings = {}) {
    const url = parseUrl(options.url);
    const timeouts = settings.timeouts ?? {};
    this.name = options.name ?? url.host;
    this.origin = url.origin;
    this.pathPrefix = url.pathname.replace(/\/+$/, '');
    this.authorization = options.apiKey === undefined ? undefined : `Bearer ${options.apiKey}`;
    this.dataParallelRanks = options.dataParallelRanks ?? 1;
    this.bootstrapHost = bracketed(options.bootstrapHost ?? url.hostname);
    this.bootstrapPort = options.bootstrapPort === undefined ? defaultBootstrapPort : options.bootstrapPort;
    this.headTimeoutMs = (timeouts.headSeconds ?? 600) * 1000;
    this.idleTimeoutMs = (timeouts.idleSeconds ?? 120) * 1000;
    this.connections = new Pool(url.origin, {
      connections: null,
      pipelining: 1,
      connect: { timeout: (timeouts.connectSeconds ?? 5) * 1000 },
      keepAliveTimeout: (timeouts.keepAliveSeconds ?? 4) * 1000,
      keepAliveMaxTimeout: (timeouts.keepAliveSeconds ?? 4) * 1000,
      headersTimeout: this.headTimeoutMs,
      bodyTimeout: this.idleTimeoutMs,
    });
    const { onBreaker } = settings;
    this.breaker = new Breaker({
      ...settings.breaker,
      clock: settings.clock ?? systemClock,
      ...(onBreaker && { onChange: (from, to) => onBreaker(this, from, to) }),
    });
  }

  /** Whether requests may be sent to it now. */
  get isReady(): boolean {
    return this.isHealthy && this.breaker.isReady;
  }

  /** The ranks in turn. */
  takeRank(): number {
    const rank = this.#nextRank;
    this.#nextRank = (rank + 1) % this.dataParallelRanks;
    return rank;
  }

  /** Ends all connections. */
  close(): Promise<void> {
    return this.connections.destroy();
  }
}

function parseUrl(text: string): URL {
  if (!URL.canParse(text)) throw badWorker(text, 'an address such as http://10.0.0.7:8000');
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw badWorker(text, 'http or https');
  if (url.username !== '' || url.search !== '' || url.hash !== '') {
    throw badWorker(`${url.origin}${url.pathname}`, 'no user, query or fragment in the address');
  }
  return url;
}

function bracketed(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
}
