import { createGateway, type Listening, listen } from '@moestack/serving';
import { createEmbeddedBackend, type EmbeddedBackend } from '@moestack/serving/embedded';
import { tinyMoe } from '@moestack/tiny-moe';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SseParser } from '../src/dashboard/client/sse-parser.js';
import type { DashboardEvents, SpanView } from '../src/dashboard/protocol.js';
import { parseExposition } from './exposition.js';

let backend: EmbeddedBackend;
let server: Listening;

beforeAll(async () => {
  backend = await createEmbeddedBackend({
    modelDirectory: tinyMoe,
    name: 'tiny-moe',
    decodeRanks: 2,
    redundantExperts: 4,
    randomSeed: () => 5,
  });
  server = await listen(createGateway({ backend, dashboard: true, slo: { ttftSeconds: 60 } }), { port: 0 });
});
afterAll(async () => {
  await server.close({ drainSeconds: 1 });
  await backend.close();
});

const generate = async (prompt: string): Promise<void> => {
  const response = await fetch(`${server.url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'tiny-moe', prompt, max_tokens: 24, ignore_eos: true, stream: true }),
  });
  expect(response.status).toBe(200);
  await response.text();
};

/** Reads events until `isEnough` of all there were; the newest of each name counts, and the spans of all. */
async function follow(
  isEnough: (seen: Partial<DashboardEvents>) => boolean,
): Promise<Partial<DashboardEvents>> {
  const abort = new AbortController();
  const response = await fetch(`${server.url}/dashboard/events`, { signal: abort.signal });
  const parser = new SseParser();
  const decoder = new TextDecoder();
  const seen: Record<string, unknown> = {};
  const spans: SpanView[] = [];
  const reader = response.body!.getReader();
  while (!isEnough(seen as Partial<DashboardEvents>)) {
    const { done, value } = await reader.read();
    if (done) throw new Error('the events ended early');
    for (const { name, data } of parser.push(decoder.decode(value, { stream: true }))) {
      const event = JSON.parse(data);
      if (name === 'steps') spans.push(...event.spans);
      seen[name] = name === 'steps' ? { spans } : event;
    }
  }
  abort.abort();
  return seen as Partial<DashboardEvents>;
}

describe('the dashboard of the embedded engine', () => {
  it('shows tokens, experts, placement, migration and steps as they are', async () => {
    await Promise.all(['The people', 'A law', 'The court'].map(generate));
    await backend.rebalance();
    const { hello, live, experts, steps } = await follow(
      (seen) => seen.live !== undefined && seen.steps !== undefined && seen.experts?.migration != null,
    );
    expect(hello).toMatchObject({
      model: 'tiny-moe',
      models: ['tiny-moe'],
      contextTokens: 512,
      backend: 'embedded',
      slo: { ttftMs: 60_000, tpotMs: null },
      needsKey: false,
    });
    expect(live?.stages.map(({ stage }) => stage)).toEqual(['prefill', 'decode']);
    expect(live?.totals).toMatchObject({ requests: 3, failed: 0, generatedTokens: 72 });
    expect(live?.recent).toHaveLength(3);
    expect(live?.targets).toEqual([]);
    expect(live?.sample.attained).toBe(1);
    const decode = experts?.stages.find(({ stage }) => stage === 'decode');
    expect(decode?.ranks).toBe(2);
    expect(decode?.tokens).toHaveLength(decode!.layers * decode!.experts);
    expect(decode?.slots).toHaveLength(decode!.layers * (decode!.experts + 4));
    for (let layer = 0; layer < decode!.layers; layer++) {
      const row = decode!.slots.slice(layer * (decode!.experts + 4), (layer + 1) * (decode!.experts + 4));
      expect(new Set(row.filter((expert) => expert >= 0)).size).toBe(decode!.experts);
    }
    expect(decode?.tokens.reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
    expect(experts?.migration).toMatchObject({ stage: 'decode' });
    expect(new Set(steps?.spans.map(({ kind }) => kind))).toEqual(new Set(['prefill', 'transfer', 'decode']));
    expect(steps?.spans.every(({ startUs, endUs }) => endUs >= startUs)).toBe(true);
  });

  it('agrees with the metrics and the trace', async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    const families = parseExposition(text);
    const first = (name: string) => families.get(name)?.samples[0]?.value;
    expect(first('vllm:generation_tokens_total')).toBe(72);
    expect(first('vllm:num_requests_running')).toBe(0);
    expect(first('vllm:num_preemptions_total')).toBe(0);
    expect(families.get('moestack:expert_tokens_total')!.samples.length).toBeGreaterThan(0);
    const trace = (await (await fetch(`${server.url}/debug/trace`)).json()) as {
      traceEvents: { ph: string; name: string; args?: { name?: string } }[];
    };
    const processes = trace.traceEvents
      .filter(({ name }) => name === 'process_name')
      .map(({ args }) => args?.name);
    expect(processes).toEqual(['requests', 'engine tiny-moe']);
    expect(trace.traceEvents.filter(({ ph, name }) => ph === 'b' && name === '/v1/completions')).toHaveLength(
      3,
    );
    expect(trace.traceEvents.some(({ ph, name }) => ph === 'X' && name === 'decode')).toBe(true);
  });
});
