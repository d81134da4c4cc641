import { BenchmarkReport } from '@moestack/schemas';
import { describe, expect, it } from 'vitest';
import { defineBench, median, runBench } from './bench.js';
import { readmeSnippets } from './readme-snippets.js';

describe('runBench', () => {
  it('reports rows and ratios that the schema accepts, and says what was skipped', async () => {
    let calls = 0;
    const report = await runBench(
      defineBench({
        name: 'demo',
        groups: () => [
          {
            name: 'g',
            rounds: 3,
            sampleMilliseconds: 0.1,
            cases: [
              { name: 'a', unit: 'op/s', work: 1, run: () => calls++ },
              { name: 'b', unit: 'op/s', work: 1, run: () => calls++ },
            ],
            ratios: [
              { name: 'a over b', numerator: 'a', denominator: 'b', aim: 1 },
              { name: 'a over c', numerator: 'a', denominator: 'c' },
            ],
          },
        ],
      }),
    );
    expect(BenchmarkReport.parse(report)).toEqual(report);
    expect(calls).toBeGreaterThan(6);
    expect(report.ratios[0]?.median).toBeGreaterThan(0);
    expect(report.ratios[1]).toMatchObject({ median: null, skipped: 'c did not run here' });
  });

  it('takes the seconds that a case measured by itself, and closes also after a failure', async () => {
    let closed = 0;
    const definition = (measure: () => Promise<number>) =>
      defineBench({
        name: 'demo',
        groups: () => [{ name: 'g', rounds: 2, cases: [{ name: 'a', unit: 'us', measure }] }],
        close: async () => void closed++,
      });
    const report = await runBench(definition(async () => 2e-6));
    expect(report.rows[0]).toMatchObject({ median: 2, rounds: 2 });
    await expect(runBench(definition(() => Promise.reject(new Error('no'))))).rejects.toThrow('no');
    expect(closed).toBe(2);
  });

  it('prepares a group when its turn has come, and reports each as soon as it is measured', async () => {
    const events: string[] = [];
    const group = (name: string) => ({
      name,
      rounds: 1,
      cases: [{ name, unit: 'ms', measure: async () => 1e-3 }],
    });
    const definition = defineBench({
      name: 'demo',
      async *groups() {
        for (const name of ['a', 'b']) {
          events.push(`prepare ${name}`);
          yield group(name);
        }
      },
    });
    const report = await runBench(definition, {
      onGroup: (name) => events.push(`run ${name}`),
      onFigures: ({ rows }) => events.push(`report ${rows.map((row) => row.name)}`),
    });
    const each = (name: string) => [`prepare ${name}`, `run ${name}`, `report ${name}`];
    expect(events).toEqual([...each('a'), ...each('b')]);
    expect(report.rows.map((row) => row.median)).toEqual([1, 1]);
  });

  it('takes the mean of the middle two for even counts', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([3, 1, 2])).toBe(2);
  });
});

describe('readmeSnippets', () => {
  it('finds blocks of one language only', () => {
    expect(readmeSnippets('a\n```ts\nx\n```\n```sh\ny\n```\n```ts\nz\nw\n```\n', 'ts')).toEqual([
      'x\n',
      'z\nw\n',
    ]);
  });
});
