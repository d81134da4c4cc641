import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'tsup';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLoopback, uniformTopology } from '../../src/index.js';
import { launchWorkers } from '../../src/worker/index.js';
import { isMpiRequired } from '../mpi/launch.js';
import { type Digests, runScenario } from './scenario.js';

const folder = fileURLToPath(new URL('../../node_modules/.cache/moe-scenario', import.meta.url));
const entry = `${folder}/scenario-entry.mjs`;
const groups = [
  { nodes: 1, ranksPerNode: 2 },
  { nodes: 2, ranksPerNode: 2 },
];

interface Report {
  rank: number;
  digests: Digests;
}

function byRank(reports: readonly Report[]): Digests[] {
  return [...reports].sort((a, b) => a.rank - b.rank).map(({ digests }) => digests);
}

beforeAll(async () => {
  await build({
    entry: [fileURLToPath(new URL('./scenario-entry.ts', import.meta.url))],
    outDir: folder,
    format: 'esm',
    target: 'node20',
    splitting: false,
    external: ['koffi'],
    outExtension: () => ({ js: '.mjs' }),
    config: false,
    silent: true,
  });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Launchers of the MPI libraries that are installed: Debian names them apart, elsewhere there is one. */
const launchers = ['mpirun.openmpi', 'mpiexec.mpich'].filter(
  (command) => spawnSync(command, ['--version']).status === 0,
);

async function onMpi(
  launcher: string,
  nodes: number,
  ranksPerNode: number,
  blocking: boolean,
): Promise<Report[]> {
  const extra = launcher.includes('openmpi') ? ['--oversubscribe', '--allow-run-as-root'] : [];
  const program = [process.execPath, entry, String(nodes), String(ranksPerNode), blocking ? '1' : '0'];
  const child = spawn(launcher, [...extra, '-n', String(nodes * ranksPerNode), ...program], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 50_000,
    killSignal: 'SIGKILL',
  });
  let [output, errors] = ['', ''];
  child.stdout.on('data', (text) => {
    output += text;
  });
  child.stderr.on('data', (text) => {
    errors += text;
  });
  const [code] = await once(child, 'close');
  expect(code, errors).toBe(0);
  return output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Report);
}

describe.each(groups)('$nodes nodes of $ranksPerNode ranks', ({ nodes, ranksPerNode }) => {
  const ranks = nodes * ranksPerNode;
  const topology = uniformTopology(nodes, ranksPerNode);
  let expected: Digests[];

  beforeAll(async () => {
    expected = await Promise.all(createLoopback(ranks, { topology }).map((comm) => runScenario(comm, false)));
  });

  it.each([true, false])(
    'worker threads give the bits and the bytes of loopback (blocking: %s)',
    async (blocking) => {
      const reports: Report[] = [];
      const group = launchWorkers({
        ranks,
        topology,
        entry,
        bytesPerRank: 32 << 20,
        data: { blocking },
        worker: { execArgv: [] },
      });
      for (const worker of group.workers) worker.on('message', (report: Report) => reports.push(report));
      await group.join();
      expect(byRank(reports)).toEqual(expected);
    },
  );

  if (launchers.length === 0) {
    it('MPI: neither mpirun.openmpi nor mpiexec.mpich is installed', (context) => {
      if (isMpiRequired) throw new Error('MOESTACK_REQUIRE names mpi, but there is neither of them');
      context.skip();
    });
  }
  for (const launcher of launchers) {
    it(`${launcher} gives the bits and the bytes of loopback`, async () => {
      // Jobs take seconds to start: blocking calls with two ranks, promises with four.
      expect(byRank(await onMpi(launcher, nodes, ranksPerNode, ranks === 2))).toEqual(expected);
    });
  }
});

it.each([true, false])(
  'a worker that ends names itself to every other rank (blocking: %s)',
  async (blocking) => {
    const failures = new Map<number, unknown>();
    const group = launchWorkers({
      ranks: 4,
      topology: uniformTopology(2, 2),
      entry,
      bytesPerRank: 4 << 20,
      data: { blocking, victim: 2 },
      worker: { execArgv: [] },
    });
    for (const worker of group.workers) {
      worker.on('message', ({ rank, failure }: { rank: number; failure: unknown }) =>
        failures.set(rank, failure),
      );
    }
    await group.exits();
    const named = { name: 'PeerFailureError', ranks: [2] };
    expect(Object.fromEntries(failures)).toEqual({ 0: named, 1: named, 3: named });
  },
);
