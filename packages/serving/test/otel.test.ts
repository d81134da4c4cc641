import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { describe, expect, it } from 'vitest';
import type { GatewayEvent } from '../src/observer.js';
import { genAiSpans } from '../src/otel/index.js';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';

function setUp() {
  const exporter = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  const spans = genAiSpans({ tracerProvider, nowMs: () => 1_700_000_000_000 });
  const see = (...events: GatewayEvent[]) => {
    for (const event of events) spans.observe(event);
  };
  const find = (name: string): ReadableSpan => {
    const found = exporter.getFinishedSpans().find((span) => span.name === name);
    if (found === undefined) throw new Error(`no span ${name}`);
    return found;
  };
  return { exporter, spans, see, find };
}

const base = { requestId: 'r' } as const;
const received = (more: object = {}): GatewayEvent => ({
  ...base,
  type: 'received',
  atUs: 5_000_000,
  route: '/v1/chat/completions',
  model: 'tiny-moe',
  stream: true,
  bodyBytes: 321,
  ...more,
});
const routed = (more: object = {}): GatewayEvent => ({
  ...base,
  type: 'routed',
  atUs: 5_001_000,
  backend: 'pool',
  worker: '10.0.0.7:8000',
  role: 'whole',
  attempt: 0,
  ...more,
});
const firstByte: GatewayEvent = { ...base, type: 'first-byte', atUs: 5_201_000 };
const usage: GatewayEvent = {
  ...base,
  type: 'usage',
  atUs: 5_500_000,
  promptTokens: 12,
  completionTokens: 30,
  cachedTokens: 8,
};
const finished = (more: object = {}): GatewayEvent =>
  ({
    ...base,
    type: 'finished',
    atUs: 5_501_000,
    status: 200,
    outcome: 'ok',
    ...more,
  }) as GatewayEvent;

const milliseconds = ([seconds, nanoseconds]: readonly [number, number]) =>
  seconds * 1000 + nanoseconds / 1e6;

describe('genAiSpans', () => {
  it('makes a server span and a client span below it, as the conventions name things', () => {
    const { see, find, exporter } = setUp();
    see(received(), routed(), firstByte, usage, finished());
    expect(exporter.getFinishedSpans()).toHaveLength(2);
    const server = find('POST /v1/chat/completions');
    const client = find('chat tiny-moe');
    expect(server.kind).toBe(SpanKind.SERVER);
    expect(client.kind).toBe(SpanKind.CLIENT);
    expect(client.parentSpanContext?.spanId).toBe(server.spanContext().spanId);
    expect(client.attributes).toMatchObject({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'moestack',
      'gen_ai.request.model': 'tiny-moe',
      'gen_ai.response.model': 'tiny-moe',
      'gen_ai.usage.input_tokens': 12,
      'gen_ai.usage.output_tokens': 30,
      'gen_ai.usage.cache_read.input_tokens': 8,
      'gen_ai.response.time_to_first_chunk': 0.201,
      'server.address': '10.0.0.7',
      'server.port': 8000,
    });
    expect(server.attributes).toMatchObject({
      'http.request.method': 'POST',
      'http.route': '/v1/chat/completions',
      'http.response.status_code': 200,
    });
    expect(milliseconds(server.startTime)).toBe(1_700_000_000_000);
    expect(milliseconds(server.duration)).toBeCloseTo(501, 3);
    expect(client.events.map(({ name }) => name)).toEqual(['gen_ai.first_chunk']);
    expect(server.status.code).toBe(SpanStatusCode.UNSET);
  });

  it("goes on with the client's trace and hands it on", () => {
    const { see, find, spans } = setUp();
    see(received({ traceparent: `00-${traceId}-00f067aa0ba902b7-01` }));
    const before = spans.traceparent('r');
    see(routed());
    const header = spans.traceparent('r')!;
    see(finished());
    const server = find('POST /v1/chat/completions');
    const client = find('chat tiny-moe');
    expect(server.spanContext().traceId).toBe(traceId);
    expect(server.parentSpanContext?.spanId).toBe('00f067aa0ba902b7');
    expect(before).toBe(`00-${traceId}-${server.spanContext().spanId}-01`);
    expect(header).toBe(`00-${traceId}-${client.spanContext().spanId}-01`);
    expect(spans.traceparent('r')).toBeUndefined();
  });

  it.each([
    '',
    'nonsense',
    `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
    `ff-${traceId}-00f067aa0ba902b7-01`,
    `00-${traceId.toUpperCase()}-00f067aa0ba902b7-01`,
  ])('begins a trace of its own for the header %j', (traceparent) => {
    const { see, find } = setUp();
    see(received({ traceparent }), finished());
    const server = find('POST /v1/chat/completions');
    expect(server.parentSpanContext).toBeUndefined();
    expect(server.spanContext().traceId).not.toBe(traceId);
  });

  it('shows legs, retries, findings and failures', () => {
    const { see, exporter } = setUp();
    see(
      received({ route: '/v1/completions' }),
      { ...base, type: 'guardrail', atUs: 5_000_500, source: 'INPUT', action: 'redacted' },
      routed({ role: 'prefill' }),
      routed({ role: 'decode', worker: '[::1]:9' }),
      {
        ...base,
        type: 'retry',
        atUs: 5_050_000,
        backend: 'pool',
        worker: '[::1]:9',
        attempt: 1,
        reason: 'serving/reset',
        delaySeconds: 0,
      },
      routed({ role: 'prefill', attempt: 1, atUs: 5_060_000 }),
      finished({ status: 502, outcome: 'failed', code: 'serving/upstream-failed' }),
    );
    const legs = exporter.getFinishedSpans().filter(({ kind }) => kind === SpanKind.CLIENT);
    expect(legs.map(({ name }) => name)).toEqual(Array(3).fill('text_completion tiny-moe'));
    expect(legs.map(({ attributes }) => attributes['error.type'])).toEqual([
      'serving/reset',
      'serving/reset',
      'serving/upstream-failed',
    ]);
    expect(legs[1]!.attributes['server.address']).toBe('[::1]');
    const server = exporter.getFinishedSpans().find(({ kind }) => kind === SpanKind.SERVER)!;
    expect(server.status.code).toBe(SpanStatusCode.ERROR);
    expect(server.events.map(({ name }) => name)).toEqual(['moestack.guardrail', 'moestack.retry']);
    expect(server.events[0]!.attributes).toEqual({
      'moestack.guardrail.source': 'INPUT',
      'moestack.guardrail.action': 'redacted',
    });
  });

  it('a refusal is no failure of the server', () => {
    const { see, find } = setUp();
    see(received(), finished({ status: 400, outcome: 'refused', code: 'serving/bad-request' }));
    const server = find('POST /v1/chat/completions');
    expect(server.status.code).toBe(SpanStatusCode.UNSET);
    expect(server.attributes['error.type']).toBe('serving/bad-request');
  });

  it('leaves nothing behind', () => {
    const { see, spans, exporter } = setUp();
    for (let i = 0; i < 500; i++) {
      const requestId = `r${i}`;
      see({ ...received(), requestId } as GatewayEvent, { ...finished(), requestId } as GatewayEvent);
      expect(spans.traceparent(requestId)).toBeUndefined();
    }
    expect(exporter.getFinishedSpans()).toHaveLength(500);
  });
});
