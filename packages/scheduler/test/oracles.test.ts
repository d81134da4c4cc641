import { createHash } from 'node:crypto';
import { readFixture, readFixtureJson } from '@moestack/fixtures';
import { readRequestTrace, type TraceRequest } from '@moestack/schemas';
import { describe, expect, it } from 'vitest';
import { replayFcfs, replayPrefixCache } from '../src/index.js';

interface CacheCase {
  capacity_blocks: number | null;
  hit_blocks: number;
  total_blocks: number;
  hit_tokens: number;
  total_tokens: number;
  token_hit_ratio: number;
  evictions: number;
  resident_blocks_end: number;
  first_64_hit_blocks: number[];
  sha256_of_hit_blocks: string;
}

interface QueueCase {
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

type Row = TraceRequest & { hashIds: readonly number[] };

function readTrace(name: string): Row[] {
  const file = `serving/traces/${name}.${name.startsWith('azure') ? 'csv' : 'jsonl'}`;
  const lines = new TextDecoder().decode(readFixture(file)).split('\n');
  const rows = readRequestTrace(lines, {
    fail: ({ line, expected }) => new Error(`line ${line}: ${expected}`),
  });
  return Array.from(rows, (row) => ({ hashIds: [], ...row }));
}

/** `20000 + 50*input_tokens` and the like. */
function serviceTime(formula: string): (row: Row) => number {
  const terms = formula.split('+').map((term) => {
    const [factor, variable] = term
      .trim()
      .split('*')
      .map((part) => part.trim());
    return { factor: Number(factor), variable };
  });
  return (row) =>
    terms.reduce((sum, { factor, variable }) => {
      if (variable === undefined) return sum + factor;
      if (variable === 'input_tokens') return sum + factor * row.inputTokens;
      if (variable === 'output_tokens') return sum + factor * row.outputTokens;
      throw new Error(`unknown variable ${variable}`);
    }, 0);
}

const percentile = (sorted: Float64Array, p: number): number => {
  const rank = (p / 100) * (sorted.length - 1);
  const low = Math.floor(rank);
  const high = Math.min(sorted.length - 1, low + 1);
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (rank - low);
};

const caches = Object.entries(readFixtureJson<Record<string, CacheCase[]>>('serving/prefix_cache.json'));
const queues = Object.entries(
  readFixtureJson<Record<string, { service_us: string; cases: QueueCase[] }>>('serving/fcfs_queue.json'),
);

describe('replayPrefixCache', () => {
  it.each(caches.flatMap(([trace, cases]) => cases.map((one) => [trace, one.capacity_blocks, one] as const)))(
    'finds in %s with %s blocks what the reference finds',
    (trace, capacityBlocks, expected) => {
      const result = replayPrefixCache(readTrace(trace), { capacityBlocks });
      const { hitBlocks } = result;
      expect([...hitBlocks.subarray(0, 64)]).toEqual(expected.first_64_hit_blocks);
      expect(createHash('sha256').update(hitBlocks.join(',')).digest('hex')).toBe(
        expected.sha256_of_hit_blocks,
      );
      expect({
        hit_blocks: hitBlocks.reduce((sum, hits) => sum + hits, 0),
        total_blocks: result.totalBlocks,
        hit_tokens: result.hitTokens,
        total_tokens: result.totalTokens,
        evictions: result.evictions,
        resident_blocks_end: result.residentBlocks,
      }).toEqual({
        hit_blocks: expected.hit_blocks,
        total_blocks: expected.total_blocks,
        hit_tokens: expected.hit_tokens,
        total_tokens: expected.total_tokens,
        evictions: expected.evictions,
        resident_blocks_end: expected.resident_blocks_end,
      });
    },
  );

  it('refuses capacities that are none', () => {
    expect(() => replayPrefixCache([], { capacityBlocks: -1 })).toThrow('capacityBlocks');
    expect(() => replayPrefixCache([], { blockTokens: 0 })).toThrow('blockTokens');
  });
});

describe('replayFcfs', () => {
  it.each(
    queues.flatMap(([trace, { service_us, cases }]) =>
      cases.map((one) => [trace, one.servers, service_us, one] as const),
    ),
  )('makes the requests of %s wait for %i servers exactly as long', (trace, servers, formula, expected) => {
    const service = serviceTime(formula);
    const requests = readTrace(trace).map((row) => ({ arrivalUs: row.arrivalUs, serviceUs: service(row) }));
    const { waitUs, makespanUs, busyFraction } = replayFcfs(requests, servers);
    expect([...waitUs.subarray(0, 32)]).toEqual(expected.first_32_wait_us);
    const sum = waitUs.reduce((all, wait) => all + wait, 0);
    const sorted = waitUs.slice().sort();
    expect([sum, sum / requests.length, sorted.at(-1), makespanUs]).toEqual([
      expected.wait_us_sum,
      expected.wait_us_mean,
      expected.max,
      expected.makespan_us,
    ]);
    expect(busyFraction).toBeCloseTo(expected.busy_fraction, 12);
    for (const p of [50, 90, 99] as const) {
      expect(percentile(sorted, p)).toBeCloseTo(expected[`p${p}`], 3);
    }
  });

  it('refuses times that are none', () => {
    expect(() => replayFcfs([{ arrivalUs: 0, serviceUs: -1 }], 1)).toThrow('serviceUs');
    expect(() => replayFcfs([{ arrivalUs: Number.NaN, serviceUs: 1 }], 1)).toThrow('arrivalUs');
    expect(() => replayFcfs([], 0)).toThrow('servers');
  });
});
