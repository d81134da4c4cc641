/** Which part of an answer a worker gives. */
export type WorkerRole = 'whole' | 'prefill' | 'decode';

/** State of a worker's circuit breaker: `open` gets no requests, `half-open` one to try. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** How a request ended, for whoever counts. */
export type RequestOutcome =
  /** Answered in full. */
  | 'ok'
  /** Refused by the gateway (4xx) or by the upstream server (4xx, passed on). */
  | 'refused'
  /** Failed: a status of 500 or more, or an error frame within a stream. */
  | 'failed'
  /** The client left first. */
  | 'aborted';

/** What every event of a request carries. */
export interface RequestEvent {
  readonly requestId: string;
  /** By the gateway's clock. */
  readonly atUs: number;
}

/**
 * What happens to requests and workers. Per request: `received`, then any number of `routed`, `retry`, `handoff`,
 * then at most one `first-byte`, at most one `usage`, and in every case exactly one `finished`; `guardrail` anywhere
 * between, for each text with findings.
 */
export type GatewayEvent =
  | (RequestEvent & {
      readonly type: 'received';
      /** Path of the route, such as `/v1/chat/completions`. */
      readonly route: string;
      readonly model: string;
      readonly stream: boolean;
      /** Name of the API key, when keys are configured. */
      readonly keyId?: string;
      readonly bodyBytes: number;
      /** W3C trace context as the client sent it. */
      readonly traceparent?: string;
    })
  | (RequestEvent & {
      readonly type: 'routed';
      readonly backend: string;
      readonly worker: string;
      readonly role: WorkerRole;
      /** 0 = first try. */
      readonly attempt: number;
    })
  | (RequestEvent & {
      readonly type: 'retry';
      readonly backend: string;
      readonly worker: string;
      /** The attempt that follows. */
      readonly attempt: number;
      /** Stable code of what failed. */
      readonly reason: string;
      readonly delaySeconds: number;
    })
  | (RequestEvent & {
      readonly type: 'handoff';
      readonly backend: string;
      /**
       * What became of the KV blocks of a prefill: `delivered` to the decode worker, `null` (none handed over: decode
       * computes the prompt again), `released` (the client had left; the decode leg was sent and cancelled), `lost`
       * (no decode worker took them: they stay until the prefill worker's lease ends).
       */
      readonly result: 'delivered' | 'null' | 'released' | 'lost';
    })
  | (RequestEvent & {
      readonly type: 'guardrail';
      /** Whether a text of the prompt or of the answer was judged. */
      readonly source: 'INPUT' | 'OUTPUT';
      /** What came of it; `annotated` texts go on as they were. */
      readonly action: 'annotated' | 'redacted' | 'blocked';
    })
  | (RequestEvent & { readonly type: 'first-byte' })
  | (RequestEvent & {
      readonly type: 'usage';
      readonly promptTokens: number;
      readonly completionTokens: number;
      readonly cachedTokens: number;
    })
  | (RequestEvent & {
      readonly type: 'finished';
      /** HTTP status; 499 when the client left before the head. */
      readonly status: number;
      readonly outcome: RequestOutcome;
      /** Stable code of what went wrong. */
      readonly code?: string;
      /** Of an answer that a pool gave: why its first choice ended. */
      readonly finishReason?: string;
    })
  | {
      readonly type: 'breaker';
      readonly atUs: number;
      readonly backend: string;
      readonly worker: string;
      readonly from: BreakerState;
      readonly to: BreakerState;
    }
  | {
      readonly type: 'health';
      readonly atUs: number;
      readonly backend: string;
      readonly worker: string;
      readonly healthy: boolean;
      readonly detail?: string;
    };

/**
 * Told of everything that happens in a gateway: the hook behind metrics, spans and logs. Events carry no text of
 * prompts or answers. `observe` must not throw and should return quickly; it runs between the bytes of answers.
 */
export interface GatewayObserver {
  /** Takes one event; must not throw. */
  observe(event: GatewayEvent): void;
}

/** One observer that tells several. */
export function joinObservers(observers: readonly GatewayObserver[]): GatewayObserver {
  if (observers.length === 1) return observers[0]!;
  return {
    observe(event) {
      for (const observer of observers) observer.observe(event);
    },
  };
}
