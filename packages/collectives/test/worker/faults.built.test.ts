import { launchWorkers, type WorkerGroup } from '@moestack/collectives/worker';
import { describe, expect, it } from 'vitest';

interface Failure {
  readonly name: string;
  readonly code: string;
  readonly ranks?: readonly number[];
  readonly field?: string;
  readonly message: string;
}
interface Report {
  readonly rank: number;
  readonly dying?: true;
  readonly running?: true;
  readonly at?: number;
  readonly error?: Failure;
  readonly milliseconds?: number;
  readonly again?: Failure;
  readonly late?: Failure;
  readonly after?: Failure;
  readonly results?: readonly (Failure | undefined)[];
  readonly size?: number;
  readonly newRank?: number;
  readonly total?: number;
  readonly traffic?: number;
  readonly cpu?: number;
  readonly ticks?: number;
}
interface Run {
  readonly group: WorkerGroup;
  readonly reports: Report[];
}

const entry = new URL('./rank-entry.mjs', import.meta.url);
const modes = [
  { blocking: true, mode: 'blocked in run()' },
  { blocking: false, mode: 'awaiting' },
];

function launch(
  ranks: number,
  data: Record<string, unknown>,
  onReport: (report: Report, run: Run) => void = () => {},
): Run {
  const group = launchWorkers({
    ranks,
    entry,
    bytesPerRank: 4 << 20,
    // `left`: how many ranks have left the run before a death.
    data: { timeoutSeconds: 20, left: new SharedArrayBuffer(4), ...data },
    // The test runner's conditions would make workers resolve packages to their sources.
    worker: { execArgv: [] },
  });
  const run: Run = { group, reports: [] };
  for (const worker of group.workers) {
    worker.on('message', (report: Report) => {
      run.reports.push(report);
      onReport(report, run);
    });
  }
  return run;
}

describe.each(modes)('a rank that dies while others are $mode', ({ blocking }) => {
  it.each(['terminate', 'throw', 'reject', 'exit', 'exit-cleanly'])(
    '(%s) is named by every survivor',
    async (way) => {
      let death = 0;
      const { group, reports } = launch(
        3,
        { scenario: 'killed', victim: 1, way, blocking },
        (report, run) => {
          if (!report.dying) return;
          death = Date.now();
          if (way === 'terminate') void run.group.workers[1]?.terminate();
        },
      );
      const exits = await group.exits();
      expect(exits.filter((exit) => exit.rank !== 1).map((exit) => [exit.exitCode, exit.error])).toEqual([
        [0, undefined],
        [0, undefined],
      ]);
      for (const rank of [0, 2]) {
        const [first, second] = reports.filter((report) => report.rank === rank);
        expect(first?.error).toMatchObject({
          name: 'PeerFailureError',
          code: 'collectives/peer-failure',
          ranks: [1],
        });
        // Far below the timeout of 20 s: the death itself was noticed.
        expect((first?.at as number) - death).toBeLessThan(5000);
        expect(second).toMatchObject({
          again: { name: 'PeerFailureError' },
          size: 2,
          newRank: rank / 2,
          total: 2,
        });
      }
      const why = reports.find((report) => report.rank === 0)?.error?.message;
      const reasons: Record<string, string> = {
        terminate: 'exit code 1',
        throw: 'RangeError: out of luck',
        reject: 'TypeError: nobody caught this',
        exit: 'exit code 3',
        'exit-cleanly': 'ended its thread',
      };
      expect(why).toContain(reasons[way]);
      if (way === 'throw')
        await expect(group.join()).rejects.toMatchObject({ code: 'collectives/peer-failure' });
    },
  );

  it('(all but one) leaves the last one alone', async () => {
    const { group, reports } = launch(2, { scenario: 'killed', victim: 0, way: 'exit', blocking });
    await group.exits();
    expect(reports.find((report) => report.size !== undefined)).toMatchObject({
      rank: 1,
      size: 1,
      newRank: 0,
      total: 1,
    });
  });
});

describe.each(modes)('a wedged rank while others are $mode', ({ blocking }) => {
  it('times out, is named, and may be left behind', async () => {
    const timeoutSeconds = 0.3;
    const { group, reports } = launch(3, { scenario: 'wedged', victim: 2, timeoutSeconds, blocking });
    await group.exits();
    for (const rank of [0, 1]) {
      const report = reports.find((entry) => entry.rank === rank);
      expect(report?.error?.ranks).toEqual([2]);
      if (report?.error?.name === 'CollectivesTimeoutError') expect(report.milliseconds).toBeGreaterThan(295);
      // At most 100 ms after the timeout.
      expect(report?.milliseconds).toBeLessThan(400);
      expect(report).toMatchObject({ size: 2, total: 2 });
    }
    // The first to give up declares the rank failed, which may spare the other the rest of its wait.
    const names = reports.map((report) => report.error?.name);
    expect(names).toContain('CollectivesTimeoutError');
    const late = reports.find((report) => report.rank === 2)?.late;
    expect(late).toMatchObject({ name: 'PeerFailureError', ranks: [2] });
  });
});

describe.each(modes)('hostile use, $mode', ({ blocking }) => {
  it('gives a MismatchError on every rank before a byte moves, and leaves the communicator usable', async () => {
    const { group, reports } = launch(3, { scenario: 'mismatched', victim: 1, blocking });
    await group.exits();
    expect(reports.map((report) => report.rank).sort()).toEqual([0, 1, 2]);
    for (const { rank, results, total, traffic } of reports) {
      expect(results).toHaveLength(6);
      results?.slice(0, 5).forEach((error) => {
        expect(error).toMatchObject({ name: 'MismatchError', code: 'collectives/mismatch' });
      });
      expect(results?.[5]?.code).toBe(rank === 1 ? 'collectives/bad-shape' : 'collectives/mismatch');
      expect(total).toBe(3);
      // Only the final sum of two floats.
      expect(traffic).toBeLessThanOrEqual(6);
    }
  });

  it('names a rank that closes during a run', async () => {
    const { group, reports } = launch(3, { scenario: 'closed', victim: 0, blocking });
    await group.exits();
    expect(reports).toHaveLength(2);
    // One of them may have had all it needed when rank 0 closed; the other was to send something back.
    const errors = reports.flatMap(({ error }) => (error === undefined ? [] : [error]));
    expect(errors.length).toBeGreaterThan(0);
    for (const error of errors) expect(error).toMatchObject({ name: 'PeerFailureError', ranks: [0] });
  });

  it('uses less than 5 % of a core while it waits, and keeps its event loop alive when it awaits', async () => {
    const { group, reports } = launch(3, { scenario: 'idle', victim: 2, blocking });
    await group.exits();
    const cpu = reports.find((report) => report.rank === 2)?.cpu as number;
    // CPU seconds of the whole process, two waiting ranks, in one second.
    expect(cpu).toBeLessThan(0.1);
    if (blocking) return;
    for (const report of reports.filter(({ ticks }) => ticks !== undefined))
      expect(report.ticks).toBeGreaterThan(10);
  });
});

describe('aborting', () => {
  it('rejects with AbortedError, after which the communicator is broken', async () => {
    const { group, reports } = launch(2, { scenario: 'aborted', victim: 1 });
    await group.exits();
    const [first, second] = reports.filter((report) => report.rank === 0);
    expect(first?.error?.name).toBe('AbortedError');
    expect(first?.milliseconds).toBeLessThan(5000);
    expect(second?.after?.name).toBe('AbortedError');
  });
});

describe('launchWorkers', () => {
  it('ends all ranks, whatever they do, by terminate() or its signal', async () => {
    for (const stop of ['terminate', 'signal']) {
      const controller = new AbortController();
      let running = 0;
      const group = launchWorkers({
        ranks: 2,
        entry,
        bytesPerRank: 4 << 20,
        data: { scenario: 'endless', timeoutSeconds: 20 },
        worker: { execArgv: [] },
        signal: controller.signal,
      });
      const joined = group.join().then(
        () => 'resolved',
        (error: Error) => error.name,
      );
      for (const worker of group.workers) {
        worker.on('message', () => {
          if (++running !== 2) return;
          if (stop === 'signal') controller.abort();
          else void group.terminate();
        });
      }
      expect(await joined).toBe(stop === 'signal' ? 'AbortedError' : 'resolved');
      expect((await group.exits()).map((exit) => exit.exitCode)).toEqual([1, 1]);
    }
  });

  it('reports a worker that cannot start', async () => {
    const group = launchWorkers({
      ranks: 2,
      entry: new URL('./missing.mjs', import.meta.url),
      bytesPerRank: 1 << 20,
    });
    await expect(group.join()).rejects.toMatchObject({ code: 'collectives/peer-failure' });
    expect(() => launchWorkers({ ranks: 1, entry, signal: AbortSignal.abort() })).toThrow('aborted');
  });
});
