import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExpositionWriter } from '../src/metrics/exposition.js';
import { LabelLimit } from '../src/metrics/label-limit.js';
import { ServingMetrics } from '../src/metrics/serving-metrics.js';
import type { GatewayEvent } from '../src/observer.js';
import { sampleStats } from './dashboard/sample-engine.js';
import { type ParsedFamily, parseExposition } from './exposition.js';

const value = (families: Map<string, ParsedFamily>, name: string, labels: Record<string, string> = {}) =>
  families
    .get(name.replace(/_(?:bucket|sum|count)$/, (suffix) => (families.has(name) ? suffix : '')))
    ?.samples.find(
      (sample) =>
        sample.name === name &&
        Object.entries(labels).every(([key, wanted]) => sample.labels[key] === wanted),
    )?.value;

function request(
  id: string,
  options: { model?: string; keyId?: string; tokens?: number; outcome?: 'ok' | 'failed' } = {},
): GatewayEvent[] {
  const { model = 'm', keyId, tokens = 11, outcome = 'ok' } = options;
  return [
    {
      type: 'received',
      requestId: id,
      atUs: 1_000_000,
      route: '/v1/completions',
      model,
      stream: true,
      bodyBytes: 10,
      ...(keyId !== undefined && { keyId }),
    },
    {
      type: 'routed',
      requestId: id,
      atUs: 1_000_100,
      backend: 'pool',
      worker: 'a:1',
      role: 'whole',
      attempt: 0,
    },
    { type: 'first-byte', requestId: id, atUs: 1_250_000 },
    {
      type: 'usage',
      requestId: id,
      atUs: 1_350_000,
      promptTokens: 7,
      completionTokens: tokens,
      cachedTokens: 0,
    },
    outcome === 'ok'
      ? { type: 'finished', requestId: id, atUs: 1_350_000, status: 200, outcome }
      : { type: 'finished', requestId: id, atUs: 1_350_000, status: 502, outcome, code: 'serving/x' },
  ];
}

function observed(
  events: readonly GatewayEvent[],
  options: ConstructorParameters<typeof ServingMetrics>[0] = {},
) {
  const metrics = new ServingMetrics(options);
  for (const event of events) metrics.observe(event);
  return metrics;
}

describe('ExpositionWriter', () => {
  it('escapes whatever labels and help hold', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string(), fc.double(), (label, help, number) => {
        const text = new ExpositionWriter().single('x', 'gauge', help, { a: label }, number).text();
        const family = parseExposition(text).get('x')!;
        expect(family.samples[0]!.labels['a']).toBe(label);
        expect(Object.is(family.samples[0]!.value, number) || family.samples[0]!.value === number).toBe(true);
      }),
      { seed: 7, numRuns: 300 },
    );
  });
});

describe('LabelLimit', () => {
  it('lets only so many values through', () => {
    const limit = new LabelLimit(2);
    expect(['a', 'b', 'c', 'a', 'd'].map((one) => limit.value(one))).toEqual([
      'a',
      'b',
      'other',
      'a',
      'other',
    ]);
    expect(new LabelLimit(9).value('x'.repeat(300))).toBe('other');
  });
});

describe('ServingMetrics', () => {
  it('is valid before anything happened', async () => {
    const metrics = new ServingMetrics();
    const families = parseExposition(await metrics.text());
    expect(value(families, 'moestack:requests_in_flight')).toBe(0);
    expect(metrics.contentType).toBe('text/plain; version=0.0.4; charset=utf-8');
  });

  it('measures first token, time per token and whole latency of a streamed answer', async () => {
    const families = parseExposition(await observed(request('a')).text());
    const labels = { model_name: 'm' };
    expect(value(families, 'vllm:time_to_first_token_seconds_sum', labels)).toBeCloseTo(0.25, 9);
    expect(value(families, 'vllm:request_time_per_output_token_seconds_sum', labels)).toBeCloseTo(0.01, 9);
    expect(value(families, 'vllm:e2e_request_latency_seconds_sum', labels)).toBeCloseTo(0.35, 9);
    expect(value(families, 'vllm:prompt_tokens_total', labels)).toBe(7);
    expect(value(families, 'vllm:generation_tokens_total', labels)).toBe(11);
    expect(value(families, 'vllm:num_requests_running', labels)).toBe(0);
    expect(value(families, 'moestack:requests_total', { outcome: 'ok', code: '' })).toBe(1);
    expect(value(families, 'moestack:backend_requests_total', { worker: 'a:1', role: 'whole' })).toBe(1);
  });

  it('keeps failures out of the latencies and counts them by code', async () => {
    const families = parseExposition(await observed(request('a', { outcome: 'failed' })).text());
    expect(families.get('vllm:time_to_first_token_seconds')?.samples ?? []).toEqual([]);
    expect(value(families, 'moestack:requests_total', { outcome: 'failed', code: 'serving/x' })).toBe(1);
  });

  it('follows breakers, health, retries and hand-overs', async () => {
    const at = { atUs: 1, backend: 'pool', worker: 'a:1' };
    const families = parseExposition(
      await observed([
        { type: 'breaker', ...at, from: 'closed', to: 'open' },
        { type: 'breaker', ...at, from: 'open', to: 'half-open' },
        { type: 'health', ...at, healthy: false },
        { type: 'retry', ...at, requestId: 'r', attempt: 1, reason: 'serving/reset', delaySeconds: 0 },
        { type: 'handoff', atUs: 1, backend: 'pool', requestId: 'r', result: 'null' },
      ]).text(),
    );
    expect(value(families, 'moestack:backend_breaker_state', { worker: 'a:1' })).toBe(1);
    expect(value(families, 'moestack:backend_breaker_changes_total', { to: 'open' })).toBe(1);
    expect(value(families, 'moestack:backend_healthy', { worker: 'a:1' })).toBe(0);
    expect(value(families, 'moestack:backend_retries_total', { reason: 'serving/reset' })).toBe(1);
    expect(value(families, 'moestack:backend_kv_handoffs_total', { result: 'null' })).toBe(1);
  });

  it('stays bounded whatever models, keys and codes come', async () => {
    const metrics = new ServingMetrics({ isServed: (model) => model === 'm' });
    for (let i = 0; i < 2000; i++) {
      for (const event of request(`r${i}`, { model: `model ${i}`, keyId: `key${i}` })) metrics.observe(event);
      metrics.observe({
        type: 'retry',
        atUs: 1,
        backend: 'b',
        worker: 'w',
        requestId: 'r',
        attempt: 1,
        reason: `code${i}`,
        delaySeconds: 0,
      });
      metrics.response(`/path/${i}`, 404);
    }
    const families = parseExposition(await metrics.text());
    expect(value(families, 'vllm:prompt_tokens_total', { model_name: 'other' })).toBe(14_000);
    expect(families.get('vllm:prompt_tokens_total')!.samples).toHaveLength(1);
    expect(families.get('moestack:key_tokens_total')!.samples.length).toBeLessThanOrEqual(402);
    expect(families.get('moestack:backend_retries_total')!.samples.length).toBeLessThanOrEqual(61);
    expect(families.get('moestack:http_responses_total')!.samples.length).toBeLessThanOrEqual(31);
  });

  it("shows an engine's own figures, tokens counted once", async () => {
    const metrics = observed([...request('a'), ...request('b', { model: 'elsewhere' })], {
      engines: [{ model: 'm', stats: () => sampleStats(100) }],
    });
    const families = parseExposition(await metrics.text());
    const stats = sampleStats(100);
    expect(value(families, 'vllm:generation_tokens_total', { model_name: 'm', engine: '0' })).toBe(
      stats.generatedTokens,
    );
    expect(value(families, 'vllm:generation_tokens_total', { model_name: 'elsewhere' })).toBe(11);
    expect(families.get('vllm:generation_tokens_total')!.samples).toHaveLength(2);
    const usage = value(families, 'vllm:kv_cache_usage_perc', { engine: '0' })!;
    expect(usage).toBe(Math.max(...stats.stages.map((stage) => stage.blocksUsed / stage.blocksTotal)));
    expect(value(families, 'vllm:inter_token_latency_seconds_count', { model_name: 'm' })).toBe(30_000);
    expect(value(families, 'moestack:admission_refused_total', { reason: 'ttft' })).toBe(4);
    expect(value(families, 'moestack:kv_blocks', { stage: 'decode' })).toBe(1024);
  });

  it('shows expert load by expert where there are few, by layer where there are many', async () => {
    const text = (layers: number, experts: number) =>
      observed([], { engines: [{ model: 'm', stats: () => sampleStats(100, { layers, experts }) }] }).text();
    const few = parseExposition(await text(3, 8));
    const stats = sampleStats(100, { layers: 3, experts: 8 });
    expect(few.get('moestack:expert_tokens_total')!.samples).toHaveLength(2 * 3 * 8);
    expect(value(few, 'moestack:expert_tokens_total', { stage: 'prefill', layer: '2', expert: '5' })).toBe(
      stats.experts[0]!.tokens[1]![5],
    );
    const many = parseExposition(await text(58, 256));
    expect(many.get('moestack:expert_tokens_total')!.samples).toEqual([]);
    expect(many.get('moestack:expert_load_imbalance')!.samples).toHaveLength(2 * 58);
    expect(value(many, 'moestack:expert_rank_imbalance', { layer: '1' })).toBeGreaterThanOrEqual(1);
    expect(value(many, 'moestack:expert_migration_experts', { stage: 'decode' })).toBe(23);
  });

  it('leaves out an engine that cannot answer', async () => {
    const metrics = observed(request('a'), {
      engines: [{ model: 'm', stats: () => Promise.reject(new Error('gone')) }],
    });
    expect(parseExposition(await metrics.text()).has('vllm:num_preemptions_total')).toBe(false);
  });
});
