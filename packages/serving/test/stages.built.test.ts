import { readFixture } from '@moestack/fixtures';
import { LoadReport } from '@moestack/schemas';
import { createGateway, type Listening, listen } from '@moestack/serving';
import { createEmbeddedBackend, type EmbeddedBackend } from '@moestack/serving/embedded';
import { parseTrace, runLoad, syntheticTrace } from '@moestack/serving/load';
import { tinyMoe } from '@moestack/tiny-moe';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let backend: EmbeddedBackend;
let server: Listening;

beforeAll(async () => {
  backend = await createEmbeddedBackend({
    modelDirectory: tinyMoe,
    name: 'tiny-moe',
    maxBatch: 16,
    maxWaiting: 2000,
    slo: { ttftSeconds: 300, tpotSeconds: 300 },
  });
  server = await listen(createGateway({ backend }), { port: 0 });
});

afterAll(async () => {
  await server.close({ drainSeconds: 1 });
  await backend.close();
});

function blocksUsed(): number {
  return backend.stats().stages.reduce((sum, { blocksUsed }) => sum + blocksUsed, 0);
}

describe('prefill and decode stages', () => {
  it('reuses the blocks of a prompt that begins alike, and says so in the usage', async () => {
    const prompt = Array.from({ length: 70 }, (_, i) => 40 + ((i * 13) % 60));
    const ask = async (ids: number[]) => {
      const response = await fetch(`${server.url}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'tiny-moe', prompt: ids, max_tokens: 12, temperature: 0 }),
      });
      return (await response.json()) as {
        choices: { text: string }[];
        usage: { prompt_tokens_details?: { cached_tokens: number } };
      };
    };
    const before = backend.stats();
    const first = await ask(prompt);
    const second = await ask(prompt);
    expect(second.choices[0]!.text).toBe(first.choices[0]!.text);
    expect(second.usage.prompt_tokens_details?.cached_tokens).toBe(64);
    await ask([...prompt.slice(0, 40), 7, 8, 9]);
    const { prefixHitRate, cachedTokens, stages } = backend.stats();
    expect(cachedTokens - before.cachedTokens).toBe(64 + 32);
    expect(prefixHitRate).toBeCloseTo(cachedTokens / (before.promptTokens + 70 + 70 + 43), 9);
    expect(stages[0]).toMatchObject({ stage: 'prefill', role: 'prefill', blocksUsed: 0 });
    expect(stages[0]!.blocksCached).toBeGreaterThanOrEqual(4);
  });

  it.each(['mooncake_conversation.jsonl', 'azure_2023_conv.csv'])(
    'replays %s, scaled, without a loss',
    async (name) => {
      const trace = parseTrace(name, readFixture(`serving/traces/${name}`));
      const report = await runLoad({
        url: server.url,
        trace,
        prompts: 'tokens',
        requests: 40,
        timeScale: 0.01,
        inputScale: 1 / 64,
        outputScale: 1 / 16,
        maxInputTokens: 128,
        maxOutputTokens: 24,
        slo: { ttftSeconds: 300, tpotSeconds: 300 },
        keepRows: true,
      });
      expect(LoadReport.parse(report)).toEqual(report);
      expect(report.requests).toMatchObject({ sent: 40, completed: 40 });
      expect(report.attainment).toEqual({ all: 1, ttft: 1, tpot: 1 });
      for (const row of report.rows!) expect(row.promptTokens).toBe(row.inputTokens);
      // Mooncake's requests share their first block of 512 tokens, here 8; other prompts are like none.
      if (name.startsWith('azure')) expect(report.tokens.cached).toBe(0);
      await expect.poll(blocksUsed).toBe(0);
    },
  );

  it('counts what it did, and keeps the last steps and the load of the experts', async () => {
    const before = backend.stats();
    const trace = syntheticTrace({ requests: 10, ratePerSecond: 1e5, inputTokens: 20, outputTokens: 6 });
    await runLoad({ url: server.url, trace, prompts: 'tokens' });
    await expect.poll(() => backend.stats().experts.length).toBe(2);
    const stats = backend.stats();
    expect(stats).toMatchObject({ waiting: 0, running: 0, failed: 0, finished: before.finished + 10 });
    expect(stats.ttftSeconds.count).toBe(before.ttftSeconds.count + 10);
    expect(stats.generatedTokens).toBe(before.generatedTokens + 60);
    expect(stats.interTokenSeconds.count).toBe(before.interTokenSeconds.count + 50);
    expect(stats.admission.accepted).toBe(before.admission.accepted + 10);
    expect(stats.admission.refused).toEqual({ ttft: 0, tpot: 0, queue: 0 });
    expect(stats.slo.attainment).toBe(1);
    expect(stats.handovers).toBeGreaterThan(0);
    const kinds = new Set(stats.timeline.map(({ stage, kind }) => `${stage} ${kind}`));
    expect(kinds).toEqual(new Set(['prefill compute', 'decode compute', 'decode transfer']));
    for (const { startUs, endUs, microBatches, sequences, phases } of stats.timeline) {
      expect(endUs).toBeGreaterThanOrEqual(startUs);
      for (const one of phases) {
        expect([one.startUs >= startUs, one.endUs >= one.startUs, one.endUs <= endUs]).toEqual([
          true,
          true,
          true,
        ]);
      }
      expect(microBatches.reduce((sum, part) => sum + part.sequences, 0)).toBe(sequences);
    }
    // The figures were read before these requests: some steps of each stage told their phases, layer by layer.
    const traced = stats.timeline.filter(({ phases }) => phases.length > 0);
    expect(new Set(traced.map(({ stage }) => stage))).toEqual(new Set(['prefill', 'decode']));
    for (const { phases } of traced) {
      expect(new Set(phases.map(({ phase }) => phase)).size).toBe(4);
      expect(phases[0]).toMatchObject({ phase: 'attention', layer: 0 });
    }
    for (const { tokens, placement, layers, slotsPerRank } of stats.experts) {
      expect([tokens.length, placement.length]).toEqual([layers.length, layers.length]);
      expect(placement[0]!.length).toBe(slotsPerRank);
      expect(tokens[0]!.reduce((sum, one) => sum + one, 0)).toBeGreaterThan(0);
    }
    expect(JSON.parse(JSON.stringify(stats))).toEqual(stats);
  });

  it('leaves no block behind after 1,000 requests of which 30 % are left early', async () => {
    const trace = syntheticTrace({ requests: 1000, ratePerSecond: 1e5, inputTokens: 24, outputTokens: 6 });
    const report = await runLoad({
      url: server.url,
      trace,
      prompts: 'tokens',
      arrivals: 'closed',
      concurrency: 64,
      abortFraction: 0.3,
    });
    expect(report.errors.filter(({ kind }) => kind !== 'aborted')).toEqual([]);
    expect(report.requests.completed + report.requests.aborted).toBe(1000);
    expect(report.requests.aborted).toBeGreaterThan(200);
    await expect.poll(blocksUsed).toBe(0);
    const { running, waiting, stages } = backend.stats();
    expect([running, waiting, ...stages.map((stage) => stage.running)]).toEqual([0, 0, 0, 0]);
  }, 180_000);
});

describe('admission by latency', () => {
  it('refuses early what would be late, with 429, Retry-After and the reason', async () => {
    const strict = await createEmbeddedBackend({
      modelDirectory: tinyMoe,
      name: 'tiny-moe',
      maxBatch: 8,
      slo: { ttftSeconds: 0.000_1 },
      admission: { minObservations: 1 },
    });
    const listening = await listen(createGateway({ backend: strict }), { port: 0 });
    try {
      const load = { url: listening.url, prompts: 'tokens' as const, model: 'tiny-moe' };
      const one = syntheticTrace({ requests: 1, ratePerSecond: 1, inputTokens: 40, outputTokens: 6 });
      // An idle engine takes everything.
      expect((await runLoad({ ...load, trace: one })).requests.completed).toBe(1);
      const many = syntheticTrace({ requests: 40, ratePerSecond: 1e5, inputTokens: 100, outputTokens: 20 });
      const report = await runLoad({ ...load, trace: many, slo: { ttftSeconds: 0.000_1 } });
      expect(report.requests.completed).toBeGreaterThan(0);
      expect(report.requests.rejected).toBeGreaterThan(20);
      expect(report.errors).toMatchObject([{ kind: 'http', status: 429, code: 'slo_ttft' }]);
      const { admission, slo } = strict.stats();
      expect(admission.refused.ttft).toBe(report.requests.rejected);
      expect(admission.predictedTtftSeconds).toBeGreaterThan(0.000_1);
      expect(slo.attainment).toBeLessThan(0.1);
    } finally {
      await listening.close({ drainSeconds: 1 });
      await strict.close();
    }
  });
});

describe('stages of several ranks', () => {
  it('share prefixes rank by rank, and show what moved when experts are placed anew', async () => {
    const wide = await createEmbeddedBackend({
      modelDirectory: tinyMoe,
      name: 'tiny-moe',
      prefillRanks: 2,
      decodeRanks: 2,
      redundantExperts: 2,
    });
    const listening = await listen(createGateway({ backend: wide }), { port: 0 });
    try {
      const trace = syntheticTrace({
        requests: 24,
        ratePerSecond: 1e5,
        inputTokens: 64,
        outputTokens: 8,
        sharedFraction: 0.5,
      });
      const load = { url: listening.url, prompts: 'tokens' as const, arrivals: 'closed' as const };
      const first = await runLoad({ ...load, trace, concurrency: 4 });
      const [moved, second] = await Promise.all([
        wide.rebalance(),
        runLoad({ ...load, trace, concurrency: 4, seed: 2 }),
      ]);
      expect([first.requests.completed, second.requests.completed]).toEqual([24, 24]);
      // At worst the first requests of each rank find nothing.
      expect(first.tokens.cached).toBeGreaterThanOrEqual(14 * 32);
      const { experts, stages } = wide.stats();
      expect(stages.map(({ ranks, blocksUsed }) => [ranks, blocksUsed])).toEqual([
        [2, 0],
        [2, 0],
      ]);
      for (const { stage, movedExperts, layers } of moved) {
        const shown = experts.find((one) => one.stage === stage)!;
        expect(shown.slotsPerRank * 2).toBe(shown.placement[0]!.length);
        if (layers > 0) expect(shown.lastMigration).toMatchObject({ layers, movedExperts });
      }
      expect(moved.some(({ movedExperts }) => movedExperts > 0)).toBe(true);
    } finally {
      await listening.close({ drainSeconds: 1 });
      await wide.close();
    }
  }, 180_000);
});
