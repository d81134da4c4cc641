import type { GatewayEvent, GatewayObserver, RequestOutcome } from '../observer.js';

type Received = Extract<GatewayEvent, { type: 'received' }>;
type Usage = Extract<GatewayEvent, { type: 'usage' }>;
type Routed = Extract<GatewayEvent, { type: 'routed' }>;
type Finding = Pick<Extract<GatewayEvent, { type: 'guardrail' }>, 'source' | 'action'>;

/** One request from its arrival to its end. */
export interface TrackedRequest {
  readonly received: Received;
  readonly routed: readonly Routed[];
  readonly retries: number;
  readonly firstByteUs: number | undefined;
  readonly usage: Usage | undefined;
  /** What the guardrail found, each kind once. */
  readonly findings: readonly Finding[];
}

/** A request that has ended. */
export interface EndedRequest extends TrackedRequest {
  readonly endedUs: number;
  readonly status: number;
  readonly outcome: RequestOutcome;
  readonly code: string | undefined;
  readonly finishReason: string | undefined;
  /** Arrival to first byte. */
  readonly ttftUs: number | undefined;
  /** Mean time between tokens after the first; undefined for fewer than two tokens, or an answer in one piece. */
  readonly tpotUs: number | undefined;
}

/** More attempts than a configuration allows; a list that grows without end would be a leak. */
const maximumRoutes = 64;

/** Puts the events of each request together, and tells of requests when they end. */
export class RequestTracker implements GatewayObserver {
  readonly #open = new Map<
    string,
    { -readonly [K in keyof TrackedRequest]: TrackedRequest[K] } & { routed: Routed[]; findings: Finding[] }
  >();
  readonly #onEnd: (request: EndedRequest) => void;

  constructor(onEnd: (request: EndedRequest) => void) {
    this.#onEnd = onEnd;
  }

  /** How many requests have not ended. */
  get size(): number {
    return this.#open.size;
  }

  /** Requests that have not ended. */
  get open(): Iterable<TrackedRequest> {
    return this.#open.values();
  }

  observe(event: GatewayEvent): void {
    if (event.type === 'breaker' || event.type === 'health') return;
    if (event.type === 'received') {
      this.#open.set(event.requestId, {
        received: event,
        routed: [],
        retries: 0,
        firstByteUs: undefined,
        usage: undefined,
        findings: [],
      });
      return;
    }
    const request = this.#open.get(event.requestId);
    if (request === undefined) return;
    if (event.type === 'routed' && request.routed.length < maximumRoutes) request.routed.push(event);
    else if (event.type === 'retry') request.retries += 1;
    else if (event.type === 'first-byte') request.firstByteUs ??= event.atUs;
    else if (event.type === 'usage') request.usage = event;
    else if (event.type === 'guardrail') addFinding(request.findings, event);
    else if (event.type === 'finished') {
      this.#open.delete(event.requestId);
      this.#onEnd(ended(request, event));
    }
  }
}

function addFinding(findings: Finding[], { source, action }: Finding): void {
  if (!findings.some((one) => one.source === source && one.action === action))
    findings.push({ source, action });
}

function ended(request: TrackedRequest, event: Extract<GatewayEvent, { type: 'finished' }>): EndedRequest {
  const { received, firstByteUs, usage } = request;
  const tokens = usage?.completionTokens ?? 0;
  // An answer in one piece has its first byte at its end: that says nothing of single tokens.
  const hasTokens = firstByteUs !== undefined && received.stream && tokens > 1;
  return {
    ...request,
    endedUs: event.atUs,
    status: event.status,
    outcome: event.outcome,
    code: event.code,
    finishReason: event.finishReason,
    ttftUs: firstByteUs === undefined ? undefined : Math.max(0, firstByteUs - received.atUs),
    tpotUs: hasTokens ? Math.max(0, event.atUs - firstByteUs) / (tokens - 1) : undefined,
  };
}
