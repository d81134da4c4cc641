import { createHash } from 'node:crypto';
import { readFixture, readFixtureJson } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import {
  deepSeekV3,
  fcfsQueue,
  h800,
  linesOf,
  PrefixCache,
  perfettoTrace,
  publishedDeployment,
  readCsvTrace,
  readMooncakeTrace,
  requestsOf,
  type SimulatedRequest,
  SimulatorError,
  simulate,
} from '../src/index.js';
import { fuzz } from './fuzz-traces.js';

interface FcfsCase {
  servers: number;
  wait_us_sum: number;
  wait_us_mean: number;
  p50: number;
  p90: number;
  p99: number;
  max: number;
  makespan_us: number;
  busy_fraction: number;
  first_32_wait_us: number[];
}

interface CacheCase {
  capacity_blocks: number | null;
  hit_blocks: number;
  hit_tokens: number;
  total_tokens: number;
  resident_blocks_end: number;
  sha256_of_hit_blocks: string;
}

function load(name: string): SimulatedRequest[] {
  const file = name.startsWith('mooncake') ? `${name}.jsonl` : `${name}.csv`;
  const lines = linesOf(new TextDecoder().decode(readFixture(`simulator/${file}`)));
  return [...(name.startsWith('mooncake') ? readMooncakeTrace(lines) : readCsvTrace(lines))];
}

function percentile(sorted: Float64Array, p: number): number {
  const rank = (p / 100) * (sorted.length - 1);
  const low = Math.floor(rank);
  const high = sorted[Math.min(low + 1, sorted.length - 1)]!;
  return sorted[low]! + (high - sorted[low]!) * (rank - low);
}

const fcfs = readFixtureJson<Record<string, { cases: FcfsCase[] }>>('simulator/fcfs_queue.json');
const caches = readFixtureJson<Record<string, CacheCase[]>>('simulator/prefix_cache.json');

describe('fcfsQueue', () => {
  it.each(Object.entries(fcfs))('waits exactly as computed for %s', (name, { cases }) => {
    const requests = load(name).map(({ arrivalUs, inputTokens }) => ({
      arrivalUs,
      serviceUs: 20_000 + 50 * inputTokens,
    }));
    expect(cases.length).toBeGreaterThan(0);
    for (const expected of cases) {
      const { waitUs, makespanUs, busyFraction } = fcfsQueue(requests, { servers: expected.servers });
      const sum = waitUs.reduce((a, b) => a + b, 0);
      const sorted = Float64Array.from(waitUs).sort();
      expect([...waitUs.subarray(0, 32)]).toEqual(expected.first_32_wait_us);
      expect(sum).toBe(expected.wait_us_sum);
      expect(sum / waitUs.length).toBe(expected.wait_us_mean);
      expect(sorted.at(-1)).toBe(expected.max);
      expect(makespanUs).toBe(expected.makespan_us);
      expect(percentile(sorted, 50)).toBeCloseTo(expected.p50, 3);
      expect(percentile(sorted, 90)).toBeCloseTo(expected.p90, 3);
      expect(percentile(sorted, 99)).toBeCloseTo(expected.p99, 3);
      expect(busyFraction).toBeCloseTo(expected.busy_fraction, 12);
    }
  });

  it('refuses a number of servers that is none', () => {
    expect(() => fcfsQueue([], { servers: 0 })).toThrow(/servers/);
  });
});

describe('PrefixCache', () => {
  it.each(Object.entries(caches))('hits exactly as computed for %s', (name, cases) => {
    const requests = load(name);
    for (const expected of cases) {
      const cache = new PrefixCache(expected.capacity_blocks ?? Number.POSITIVE_INFINITY);
      const hits = requests.map(({ blocks }) => cache.take(blocks));
      const tokens = requests.map(({ inputTokens }, i) => Math.min(512 * hits[i]!, inputTokens));
      expect(createHash('sha256').update(hits.join(',')).digest('hex')).toBe(expected.sha256_of_hit_blocks);
      expect(hits.reduce((a, b) => a + b, 0)).toBe(expected.hit_blocks);
      expect(tokens.reduce((a, b) => a + b, 0)).toBe(expected.hit_tokens);
      expect(cache.size).toBe(expected.resident_blocks_end);
    }
  });
});

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
    expect([...readCsvTrace(linesOf(text))]).toMatchObject([
      { arrivalUs: 0, inputTokens: 374, outputTokens: 44 },
      { arrivalUs: 4_314_579, inputTokens: 396, outputTokens: 109 },
    ]);
  });

  it.each([
    ['{"timestamp":0,"input_length":0,"output_length":1}', 'input_length'],
    ['{"timestamp":0,"input_length":1}', 'output_length'],
    ['[1]', 'object'],
    ['{', 'JSON'],
    [
      '{"timestamp":9,"input_length":1,"output_length":1}\n{"timestamp":8,"input_length":1,"output_length":1}',
      'ascending',
    ],
  ])('refuse %j, naming what is wrong', (text, expected) => {
    let caught: unknown;
    try {
      for (const _ of readMooncakeTrace(linesOf(text)));
    } catch (error) {
      caught = error;
    }
    expect(SimulatorError.isInstance(caught)).toBe(true);
    expect((caught as SimulatorError).code).toBe('simulator/bad-trace');
    expect((caught as SimulatorError).message).toContain(expected);
  });

  it('refuse mutated files with typed errors alone', () => {
    const { runs, rejected } = fuzz(20_261_125, 1500);
    expect(runs).toBe(1500);
    expect(rejected).toBeGreaterThan(300);
  });
});
