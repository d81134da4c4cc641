import type { BackendBase } from './backend.js';
import type { JsonObject } from './json/json-object.js';
import type { GatewayObserver } from './observer.js';
import type { BodySource } from './upstream/leg.js';

/** Routes that are forwarded. */
export type ForwardPath = '/v1/chat/completions' | '/v1/completions';

/** A request to pass on, as the client wrote it. */
export interface ForwardRequest {
  /** Unique for ever; the only id that servers see. */
  readonly requestId: string;
  readonly path: ForwardPath;
  /** The client's body without the fields that belong between servers. */
  readonly body: JsonObject;
  /** A header of the client's request. */
  readonly header: (name: string) => string | undefined;
}

/** How an answer is waited for. */
export interface ForwardOptions {
  /** Aborts when the client leaves or the gateway ends the request. */
  readonly signal: AbortSignal;
  readonly observer: GatewayObserver;
}

/** A server's answer. */
export type ForwardAnswer =
  | { readonly type: 'body'; readonly contentType: string; readonly source: BodySource }
  | {
      readonly type: 'error';
      readonly status: number;
      /** An OpenAI error body. */
      readonly body: string;
      /** `Retry-After` as the server sent it. */
      readonly retryAfter?: string;
      /** Stable code. */
      readonly code: string;
    };

/** A pool of servers that speak the OpenAI API; bodies pass through it as they are. */
export interface ForwardingBackend extends BackendBase {
  /** Tells an observer of breakers and health from now on; the gateway registers its own. */
  watch?(observer: GatewayObserver): void;
  /** Whether it serves a model; undefined while the servers have not said what they serve. */
  serves(model: string): boolean | undefined;
  /**
   * Sends a request to servers of the pool, with retries, until one answers.
   *
   * @throws {@link ServingError}, or the reason of `signal`.
   */
  forward(request: ForwardRequest, options: ForwardOptions): Promise<ForwardAnswer>;
}
