import { readFixture, readFixtureJson } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import { type ReferenceRequest, replayReference } from '../src/index.js';

interface Case {
  params: Record<string, number>;
  trace: string;
  first_n: number;
  arrival_us_divisor: number;
  rejected: number[];
  preemptions: number;
  makespan_us: number;
  per_request_first_token_finish_preemptions: [number, number, number][];
}

const cases = readFixtureJson<Case[]>('scheduler/sched_ref.json');

function readTrace({ trace, first_n, arrival_us_divisor }: Case): ReferenceRequest[] {
  const [, ...lines] = new TextDecoder()
    .decode(readFixture(`scheduler/${trace}.csv`))
    .trim()
    .split('\n');
  return lines.slice(0, first_n).map((line) => {
    const [arrival, inputTokens, outputTokens] = line.split(',').map(Number);
    return {
      arrivalUs: Math.floor(arrival! / arrival_us_divisor),
      inputTokens: inputTokens!,
      outputTokens: outputTokens!,
    };
  });
}

describe('replayReference', () => {
  it.each(cases)(
    'reproduces $trace, $first_n rows at $arrival_us_divisor x, to the microsecond',
    (reference) => {
      const results = replayReference(readTrace(reference), reference.params);
      expect(
        results.map(({ firstTokenUs, finishUs, preemptions }) => [firstTokenUs, finishUs, preemptions]),
      ).toEqual(reference.per_request_first_token_finish_preemptions);
      expect(results.reduce((sum, { preemptions }) => sum + preemptions, 0)).toBe(reference.preemptions);
      expect(Math.max(...results.map(({ finishUs }) => finishUs))).toBe(reference.makespan_us);
    },
  );

  const params = cases[0]!.params;

  it('gives -1, -1, 0 for a request that never fits, and serves the others', () => {
    const results = replayReference(
      [
        { arrivalUs: 50, inputTokens: 4096 * 16, outputTokens: 1 },
        { arrivalUs: 70, inputTokens: 4096 * 16 - 1, outputTokens: 1 },
      ],
      params,
    );
    expect(results[0]).toEqual({ firstTokenUs: -1, finishUs: -1, preemptions: 0 });
    expect(results[1]!.finishUs).toBeGreaterThan(70);
  });

  it('sorts by arrival and answers in the order given', () => {
    const early = { arrivalUs: 0, inputTokens: 100, outputTokens: 3 };
    const late = { arrivalUs: 10_000_000, inputTokens: 200, outputTokens: 2 };
    expect(replayReference([late, early], params)).toEqual(replayReference([early, late], params).reverse());
    expect(replayReference([], params)).toEqual([]);
  });

  it.each([undefined, 0, -1, 1.5, Number.NaN])('refuses %s for a parameter', (value) => {
    expect(() => replayReference([], { ...params, block_size: value as number })).toThrow(
      expect.objectContaining({ code: 'scheduler/bad-config' }),
    );
  });
});
