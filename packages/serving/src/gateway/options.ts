import type { Admission } from '../auth/admission.js';
import type { ApiKey, Limits } from '../auth/api-keys.js';
import type { Clock } from '../clock.js';
import type { GatewayGuardrail } from '../guardrail/guardrail.js';
import type { ServingMetrics } from '../metrics/serving-metrics.js';
import type { GatewayObserver } from '../observer.js';
import type { AnyBackend, BackendSet } from './backend-set.js';
import type { InFlight } from './in-flight.js';
import type { Monitor, MonitorOptions } from './monitor.js';

/** Options of {@link createGateway}. */
export interface GatewayOptions extends MonitorOptions {
  /** One, or several that serve different models. */
  readonly backend: AnyBackend | readonly AnyBackend[];
  /** Longest request body; default 8 MiB. */
  readonly maxBodyBytes?: number;
  /** Keys that clients must show; default: everybody is let in. */
  readonly keys?: readonly ApiKey[];
  /** Limits over all clients together. */
  readonly limits?: Limits;
  /** Checks prompts and answers; `createGuardrail` of `@moestack/detect` makes one. */
  readonly guardrail?: GatewayGuardrail;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** Makes request ids, unique for ever; default: random UUIDs. */
  readonly newId?: () => string;
  /**
   * Told of every error of this process that is answered with a status of 500 or more, and of those within a stream of its
   * own engine. Answers of a pool's servers pass without it: the observer has their outcome.
   */
  readonly onError?: (error: unknown, requestId: string) => void;
}

/** What the routes share. */
export interface GatewayContext {
  readonly backends: BackendSet;
  readonly admission: Admission;
  readonly guardrail: GatewayGuardrail | undefined;
  readonly observer: GatewayObserver;
  readonly metrics: ServingMetrics;
  readonly monitor: Monitor;
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
  Variables: { requestId: string };
}
