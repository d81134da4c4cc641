import {
  type Attributes,
  type Context,
  context as contexts,
  type Span,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import type { GatewayEvent, GatewayObserver } from '../observer.js';

/** Options of {@link genAiSpans}. */
export interface GenAiSpansOptions {
  /** Default: the globally registered one. */
  readonly tracerProvider?: TracerProvider;
  /** `gen_ai.provider.name` of a backend; default `moestack`. */
  readonly providerName?: (backend: string) => string;
  /** Wall clock in milliseconds since 1970; default the machine's. */
  readonly nowMs?: () => number;
  /** Version of the instrumentation scope `@moestack/serving`. */
  readonly version?: string;
}

interface Open {
  readonly server: Span;
  readonly context: Context;
  readonly arrivalUs: number;
  readonly startMs: number;
  readonly operation: string;
  readonly model: string;
  /** The attempt that runs, one for each leg. */
  readonly legs: Map<string, Span>;
  firstByteUs: number | undefined;
  usage: Extract<GatewayEvent, { type: 'usage' }> | undefined;
}

/** Spans of requests that never end would pile up; the oldest are ended as lost. */
const maximumOpen = 50_000;

/**
 * Spans of every request by OpenTelemetry's semantic conventions for generative AI: a server span for the HTTP request,
 * and below it a client span `chat MODEL` or `text_completion MODEL` for each server that is asked. They hold counts
 * and times, no text of prompts or answers.
 *
 * The trace goes on from the client's `traceparent`; {@link GenAiSpans.traceparent} is what servers are to be told.
 *
 * @example
 * ```ts
 * import { genAiSpans } from '@moestack/serving/otel';
 *
 * const spans = genAiSpans();
 * console.log(spans.traceparent('unknown request'));
 * ```
 */
export function genAiSpans(options: GenAiSpansOptions = {}): GenAiSpans {
  return new GenAiSpans(options);
}

/** Spans of the requests of a gateway; {@link genAiSpans} makes it. */
export class GenAiSpans implements GatewayObserver {
  readonly #options: GenAiSpansOptions;
  readonly #open = new Map<string, Open>();

  /** @internal */
  constructor(options: GenAiSpansOptions) {
    this.#options = options;
  }

  /** The `traceparent` header that goes with a request to a server; undefined when it is not traced. */
  traceparent(requestId: string): string | undefined {
    const open = this.#open.get(requestId);
    if (open === undefined) return undefined;
    const span = [...open.legs.values()].at(-1) ?? open.server;
    const { traceId, spanId, traceFlags } = span.spanContext();
    if (/^0*$/.test(traceId)) return undefined;
    return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
  }

  /** Opens, annotates or ends the span that the event belongs to. */
  observe(event: GatewayEvent): void {
    if (event.type === 'breaker' || event.type === 'health') return;
    if (event.type === 'received') {
      this.#received(event);
      return;
    }
    const open = this.#open.get(event.requestId);
    if (open === undefined) return;
    switch (event.type) {
      case 'routed':
        this.#routed(open, event);
        break;
      case 'retry':
        this.#retried(open, event);
        break;
      case 'handoff':
        open.server.addEvent(
          'moestack.kv_handoff',
          { 'moestack.handoff.result': event.result },
          at(open, event.atUs),
        );
        break;
      case 'guardrail':
        open.server.addEvent(
          'moestack.guardrail',
          { 'moestack.guardrail.source': event.source, 'moestack.guardrail.action': event.action },
          at(open, event.atUs),
        );
        break;
      case 'first-byte':
        open.firstByteUs ??= event.atUs;
        for (const span of spansOf(open)) span.addEvent('gen_ai.first_chunk', {}, at(open, event.atUs));
        break;
      case 'usage':
        open.usage = event;
        break;
      case 'finished':
        this.#finished(open, event);
        break;
    }
  }

  #received(event: Extract<GatewayEvent, { type: 'received' }>): void {
    if (this.#open.size >= maximumOpen) this.#loseOldest();
    const parent = parentContext(event.traceparent);
    const startMs = (this.#options.nowMs ?? wallClock)();
    const server = this.#tracer().startSpan(
      `POST ${event.route}`,
      {
        kind: SpanKind.SERVER,
        startTime: startMs,
        attributes: {
          'http.request.method': 'POST',
          'http.route': event.route,
          'url.path': event.route,
          'http.request.body.size': event.bodyBytes,
          ...(event.keyId !== undefined && { 'moestack.key.id': event.keyId }),
        },
      },
      parent,
    );
    this.#open.set(event.requestId, {
      server,
      context: trace.setSpan(parent, server),
      arrivalUs: event.atUs,
      startMs,
      operation: operationOf(event.route),
      model: event.model,
      legs: new Map(),
      firstByteUs: undefined,
      usage: undefined,
    });
    server.setAttribute('moestack.request.stream', event.stream);
  }

  #routed(open: Open, event: Extract<GatewayEvent, { type: 'routed' }>): void {
    // A further attempt of the same leg: the one before is over, whether or not anyone said so.
    open.legs.get(event.role)?.end(at(open, event.atUs));
    const { providerName = () => 'moestack' } = this.#options;
    const [address, port] = hostAndPort(event.worker);
    const leg = this.#tracer().startSpan(
      `${open.operation} ${open.model}`.trimEnd(),
      {
        kind: SpanKind.CLIENT,
        startTime: at(open, event.atUs),
        attributes: {
          'gen_ai.operation.name': open.operation,
          'gen_ai.provider.name': providerName(event.backend),
          'gen_ai.request.model': open.model,
          'server.address': address,
          ...(port !== undefined && { 'server.port': port }),
          'moestack.backend': event.backend,
          'moestack.role': event.role,
          'moestack.attempt': event.attempt,
        },
      },
      open.context,
    );
    open.legs.set(event.role, leg);
  }

  #retried(open: Open, event: Extract<GatewayEvent, { type: 'retry' }>): void {
    const attributes = { 'error.type': event.reason, 'moestack.attempt': event.attempt };
    open.server.addEvent('moestack.retry', attributes, at(open, event.atUs));
    for (const [role, leg] of open.legs) {
      leg.setAttribute('error.type', event.reason);
      leg.setStatus({ code: SpanStatusCode.ERROR, message: event.reason });
      leg.end(at(open, event.atUs));
      open.legs.delete(role);
    }
  }

  #finished(open: Open, event: Extract<GatewayEvent, { type: 'finished' }>): void {
    this.#open.delete(event.requestId);
    const attributes = answerAttributes(open);
    const end = at(open, event.atUs);
    const isFailure = event.outcome === 'failed';
    const errorType = event.code ?? (event.outcome === 'ok' ? undefined : String(event.status));
    for (const span of spansOf(open)) {
      span.setAttributes(attributes);
      if (errorType !== undefined) span.setAttribute('error.type', errorType);
      if (isFailure)
        span.setStatus({
          code: SpanStatusCode.ERROR,
          ...(errorType !== undefined && { message: errorType }),
        });
    }
    open.server.setAttribute('http.response.status_code', event.status);
    open.server.setAttribute('moestack.outcome', event.outcome);
    for (const span of spansOf(open)) span.end(end);
  }

  #loseOldest(): void {
    const oldest = this.#open.entries().next().value;
    if (oldest === undefined) return;
    this.#open.delete(oldest[0]);
    for (const span of spansOf(oldest[1])) span.end();
  }

  #tracer() {
    const { tracerProvider, version } = this.#options;
    return (tracerProvider ?? trace).getTracer('@moestack/serving', version);
  }
}

function wallClock(): number {
  return performance.timeOrigin + performance.now();
}

/** The client's span as parent, where its header is one of W3C Trace Context version 00 or later. */
function parentContext(traceparent: string | undefined): Context {
  const match = /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(?:-|$)/.exec(
    traceparent ?? '',
  );
  if (match === null) return contexts.active();
  return trace.setSpanContext(contexts.active(), {
    traceId: match[1]!,
    spanId: match[2]!,
    traceFlags: Number.parseInt(match[3]!, 16) & TraceFlags.SAMPLED,
    isRemote: true,
  });
}

/** The legs before the request that they are part of. */
function spansOf(open: Open): Span[] {
  return [...open.legs.values(), open.server];
}

function answerAttributes({ usage, firstByteUs, arrivalUs, model, operation }: Open): Attributes {
  return {
    'gen_ai.operation.name': operation,
    'gen_ai.request.model': model,
    ...(usage !== undefined && {
      'gen_ai.response.model': model,
      'gen_ai.usage.input_tokens': usage.promptTokens,
      'gen_ai.usage.output_tokens': usage.completionTokens,
      'gen_ai.usage.cache_read.input_tokens': usage.cachedTokens,
    }),
    ...(firstByteUs !== undefined && {
      'gen_ai.response.time_to_first_chunk': (firstByteUs - arrivalUs) / 1e6,
    }),
  };
}

/** The moment of a monotonic time, on the wall clock that spans are on. */
function at(open: Open, atUs: number): number {
  return open.startMs + (atUs - open.arrivalUs) / 1000;
}

function operationOf(route: string): string {
  return route.endsWith('/chat/completions') || route.endsWith('/responses') ? 'chat' : 'text_completion';
}

/** Host and port of a worker's name, where it has the form of one. */
function hostAndPort(worker: string): [string, number | undefined] {
  const match = /^(.*[^:]|\[.*\]):(\d{1,5})$/.exec(worker.replace(/^https?:\/\//, '').replace(/\/.*$/, ''));
  return match === null ? [worker, undefined] : [match[1]!, Number(match[2])];
}
