import type { Backend } from '../backend.js';
import type { Clock } from '../clock.js';
import type { InFlight } from './in-flight.js';
import type { GatewayMetrics } from './metrics.js';

/** Options of {@link createGateway}. */
export interface GatewayOptions {
  readonly backend: Backend;
  /** Longest request body; default 8 MiB. */
  readonly maxBodyBytes?: number;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** Makes request ids; default: random UUIDs. */
  readonly newId?: () => string;
  /** Told of every error that is answered with a status of 500 or more, or within a stream. */
  readonly onError?: (error: unknown, requestId: string) => void;
}

/** What the routes share. */
export interface GatewayContext {
  readonly backend: Backend;
  readonly metrics: GatewayMetrics;
  readonly inFlight: InFlight;
  readonly clock: Clock;
  readonly maxBodyBytes: number;
  readonly newId: () => string;
  readonly onError: (error: unknown, requestId: string) => void;
  /** The moment of creation, in seconds since 1970. */
  readonly createdSeconds: number;
  readonly isDraining: () => boolean;
}

/** Values that the routes of one request share. */
export interface GatewayEnv {
  Variables: { requestId: string; arrivalUs: number };
}
