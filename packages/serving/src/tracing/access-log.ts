import type { Clock } from '../clock.js';
import { type EndedRequest, RequestTracker } from '../metrics/request-tracker.js';
import type { GatewayEvent, GatewayObserver } from '../observer.js';

/** One line of the access log. It holds no text of prompts or answers. */
export interface AccessLogEntry {
  /** Wall clock at the end, ISO 8601. */
  readonly time: string;
  readonly requestId: string;
  readonly route: string;
  readonly model: string;
  readonly status: number;
  readonly outcome: string;
  readonly code?: string;
  readonly key?: string;
  readonly stream: boolean;
  readonly bodyBytes: number;
  readonly durationMs: number;
  readonly ttftMs?: number;
  readonly tpotMs?: number;
  readonly promptTokens?: number;
  readonly completionTokens?: number;
  readonly cachedTokens?: number;
  readonly workers?: readonly string[];
  readonly retries?: number;
  /** What the guardrail found in prompt and answer, and did about it. */
  readonly guardrail?: readonly { readonly source: 'INPUT' | 'OUTPUT'; readonly action: string }[];
}

/** Writes one entry for each request that ends. */
export class AccessLog implements GatewayObserver {
  readonly #tracker: RequestTracker;

  /**
   * @param write - takes each entry; `JSON.stringify(entry)` and a line end make it a line of JSON.
   */
  constructor(write: (entry: AccessLogEntry) => void, clock: Clock) {
    this.#tracker = new RequestTracker((request) => write(entryOf(request, clock)));
  }

  observe(event: GatewayEvent): void {
    this.#tracker.observe(event);
  }
}

function entryOf(request: EndedRequest, clock: Clock): AccessLogEntry {
  const { received, usage, code, routed, retries, ttftUs, tpotUs, findings } = request;
  const workers = [...new Set(routed.map(({ worker }) => worker))];
  return {
    time: new Date(clock.unixSeconds() * 1000).toISOString(),
    requestId: received.requestId,
    route: received.route,
    model: clipped(received.model),
    status: request.status,
    outcome: request.outcome,
    ...(code !== undefined && { code }),
    ...(received.keyId !== undefined && { key: received.keyId }),
    stream: received.stream,
    bodyBytes: received.bodyBytes,
    durationMs: milliseconds(request.endedUs - received.atUs),
    ...(ttftUs !== undefined && { ttftMs: milliseconds(ttftUs) }),
    ...(tpotUs !== undefined && { tpotMs: milliseconds(tpotUs) }),
    ...(usage !== undefined && {
      promptTokens: usage.promptTokens,
      completionTokens: usage.completionTokens,
      cachedTokens: usage.cachedTokens,
    }),
    ...(workers.length > 0 && { workers }),
    ...(retries > 0 && { retries }),
    ...(findings.length > 0 && { guardrail: findings }),
  };
}

/** Clients name the model as they like, at any length. */
function clipped(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

function milliseconds(us: number): number {
  return Number((us / 1000).toFixed(3));
}
