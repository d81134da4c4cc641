import { readFixture, readFixtureJson } from '@moestack/fixtures';
import { PrefixCache } from '@moestack/scheduler';
import { describe, expect, it } from 'vitest';
import {
  deepSeekV3,
  h800,
  linesOf,
  perfettoTrace,
  publishedDeployment,
  readTrace,
  requestsOf,
  type SimulatedRequest,
  SimulatorError,
  simulate,
} from '../src/index.js';

function load(name: string): SimulatedRequest[] {
  const file = name.startsWith('mooncake') ? `${name}.jsonl` : `${name}.csv`;
  return [...readTrace(linesOf(new TextDecoder().decode(readFixture(`serving/traces/${file}`))))];
}

const caches =
  readFixtureJson<
    Record<string, { capacity_blocks: number | null; hit_tokens: number; total_tokens: number }[]>
  >('serving/prefix_cache.json');

describe('simulate with a trace', () => {
  it('serves real conversations and finds the cached tokens that the oracle finds', async () => {
    const requests = load('mooncake_conversation');
    const online = publishedDeployment('online');
    const result = await simulate({
      accelerator: h800,
      model: deepSeekV3,
      deployment: { ...online, prefill: { ...online.prefill!, units: 2 } },
      requests: requestsOf(requests),
      slo: { ttftSeconds: 10, tpotSeconds: 0.05, quantile: 0.9 },
    });
    const oracle = caches['mooncake_conversation']!.find((entry) => entry.capacity_blocks === null)!;
    const cache = new PrefixCache(Number.POSITIVE_INFINITY);
    // The last token of a prompt is computed even if its block is there.
    const whole = requests.filter(
      ({ blocks, inputTokens }) => 512 * cache.take(blocks) >= inputTokens,
    ).length;
    expect(result.finished).toBe(requests.length);
    expect(result.cachedTokens).toBe(oracle.hit_tokens - whole);
    expect(result.outputTokens).toBe(requests.reduce((sum, { outputTokens }) => sum + outputTokens, 0));
    expect(result.inputTokens).toBe(oracle.total_tokens);
    expect(result.goodput!.share).toBeGreaterThan(0.5);
  });

  it('writes a timeline that Perfetto reads', async () => {
    const { timeline } = await simulate({
      accelerator: h800,
      model: deepSeekV3,
      deployment: publishedDeployment('online'),
      requests: requestsOf(load('azure_2023_conv').slice(0, 100)),
      timelineSteps: 200,
    });
    const trace = JSON.parse(perfettoTrace(timeline, ['prefill 0', 'decode 0'])) as {
      traceEvents: { ph: string; ts?: number; dur?: number; pid: number }[];
    };
    const steps = trace.traceEvents.filter(({ ph }) => ph === 'X');
    expect(steps).toHaveLength(200);
    // Steps of one unit follow each other.
    for (const pid of [0, 1]) {
      let end = 0;
      for (const { ts, dur } of steps.filter((step) => step.pid === pid)) {
        expect(ts).toBeGreaterThanOrEqual(end);
        end = ts! + dur!;
      }
    }
  });
});

describe('trace readers', () => {
  it("read Azure's own header and dates to the microsecond", () => {
    const text =
      '\ufeffTIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n2023-11-16 18:15:50.9951690,396,109\r\n';
    expect([...readTrace(linesOf(text))]).toMatchObject([
      { arrivalUs: 0, inputTokens: 374, outputTokens: 44 },
      { arrivalUs: 4_314_579, inputTokens: 396, outputTokens: 109 },
    ]);
  });

  it.each([
    ['{"timestamp":0,"input_length":0,"output_length":1}', 'input_length'],
    ['{"timestamp":0,"input_length":1}', 'output_length'],
    ['{"timestamp":0,"input_length":1,"output_length":1}\n[1]', 'object'],
    ['{', 'JSON'],
    [
      '{"timestamp":9,"input_length":1,"output_length":1}\n{"timestamp":8,"input_length":1,"output_length":1}',
      'ascending',
    ],
  ])('refuse %j, naming what is wrong', (text, expected) => {
    let caught: unknown;
    try {
      for (const _ of readTrace(linesOf(text)));
    } catch (error) {
      caught = error;
    }
    expect(SimulatorError.isInstance(caught)).toBe(true);
    expect((caught as SimulatorError).code).toBe('simulator/bad-trace');
    expect((caught as SimulatorError).message).toContain(expected);
  });

  it('put published rows in order when asked to, and count an empty answer as one token', () => {
    const text =
      'TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:50,396,109\n2023-11-16 18:15:46,374,0\n';
    expect([...readTrace(linesOf(text), { sort: true })]).toMatchObject([
      { arrivalUs: 0, inputTokens: 374, outputTokens: 1 },
      { arrivalUs: 4_000_000, inputTokens: 396, outputTokens: 109 },
    ]);
    expect(() => [...readTrace(linesOf(text))]).toThrow(/ascending/);
  });
});
