import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RankReport } from './contract-rank.js';
import { bundle, findLauncher, isMpiRequired, type Launcher, runJob } from './launch.js';

let contractProgram: string;
let faultProgram: string;

beforeAll(async () => {
  [contractProgram, faultProgram] = (await Promise.all([
    bundle('contract-rank.ts'),
    bundle('fault-rank.ts'),
  ])) as [string, string];
});

afterAll(() => {
  for (const file of [contractProgram, faultProgram]) if (file !== undefined) rmSync(file, { force: true });
});

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'moestack-mpi-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const libraries = { openmpi: 'libmpi.so.40', mpich: 'libmpich.so.12' } as const;

/** Seconds from the fault to the end of the job; startup does not count. */
const FAULT_LIMIT_SECONDS = 3;

interface Fault {
  readonly fault: string;
  /** What the job must say. */
  readonly says: RegExp;
  /** Ranks that the error of the other rank names, where it lives to see one. */
  readonly names?: string;
}

/** Two at a time, since most of their time is waiting. */
const faults: readonly (readonly [Fault, Fault])[] = [
  [
    { fault: 'dead', says: /signal 9|KILLED|exit/i },
    { fault: 'throws', says: /moestack: rank 1: the process exits with code 1.*a defect of the program/s },
  ],
  [
    {
      fault: 'wedged',
      says: /moestack: rank \d: allReduce on rank \d of \d did not finish within 0.4 s/,
      names: '1',
    },
    {
      fault: 'wedged-promise',
      says: /moestack: rank \d: allReduce on rank \d of \d did not finish/,
      names: '1',
    },
  ],
  [
    { fault: 'wedged-native', says: /moestack: rank \d: a native collective did not finish within 0.4 s/ },
    { fault: 'wedged-at-exit', says: /moestack: rank \d: MPI_Finalize did not finish within 0.4 s/ },
  ],
];

async function checkFault(launcher: Launcher, { fault, says, names }: Fault): Promise<void> {
  await inFolder(async (folder) => {
    const job = await runJob(launcher, 2, faultProgram, [folder, fault]);
    const faultAt = Number(readFileSync(join(folder, 'fault-at'), 'utf8'));
    expect(job.code).not.toBe(0);
    expect(`${job.stderr}${job.stdout}`).toMatch(says);
    expect((job.endedAt - faultAt) / 1000).toBeLessThan(FAULT_LIMIT_SECONDS);
    if (names !== undefined) {
      expect(readFileSync(join(folder, 'caught'), 'utf8')).toBe(`true CollectivesTimeoutError ${names}\n`);
    }
  });
}

describe.each(['openmpi', 'mpich'] as const)('mpi transport on %s', (name) => {
  const launcher = findLauncher(name);
  if (launcher === undefined) {
    it(`needs mpirun of ${name}, which is not installed`, (context) => {
      if (isMpiRequired) throw new Error(`MOESTACK_REQUIRE names mpi, but ${name} is not installed`);
      context.skip();
    });
    return;
  }

  it.each([
    { ranks: 2, nodes: '', pieceBytes: String(2 ** 30) },
    { ranks: 4, nodes: '0,0,1,1', pieceBytes: '100' },
  ])('passes the contract suite with $ranks processes', async ({ ranks, nodes, pieceBytes }) => {
    await inFolder(async (folder) => {
      const job = await runJob(launcher, ranks, contractProgram, [folder, nodes, pieceBytes]);
      for (let rank = 0; rank < ranks; rank++) {
        const file = join(folder, `rank-${rank}.json`);
        expect(existsSync(file), `rank ${rank} reported; stderr: ${job.stderr}`).toBe(true);
        const report = JSON.parse(readFileSync(file, 'utf8')) as RankReport;
        expect(report.size).toBe(ranks);
        expect(report.results.filter((result) => result.error !== undefined)).toEqual([]);
        expect(report.results.length).toBeGreaterThan(40);
      }
      expect(job.code, job.stderr).toBe(0);
    });
  });

  it.each(faults.map(([a, b]) => [a.fault, b.fault, a, b] as const))(
    'ends cleanly, with a message, when a rank is %s, or %s',
    async (_, __, first, second) => {
      await Promise.all([checkFault(launcher, first), checkFault(launcher, second)]);
    },
  );

  it('refuses to work as many jobs of one rank under a library of another MPI', async (context) => {
    const other = name === 'openmpi' ? 'mpich' : 'openmpi';
    if (findLauncher(other) === undefined) context.skip();
    await inFolder(async (folder) => {
      const values = [folder, '', String(2 ** 30), libraries[other]];
      const job = await runJob(launcher, 2, contractProgram, values);
      expect(job.code).not.toBe(0);
      expect(job.stderr).toMatch(/started 2 ranks, but lib\w+\.so\.\d+ sees one/);
    });
  });

  it('works without mpirun as a job of one rank', async () => {
    await inFolder(async (folder) => {
      execFileSync(process.execPath, [contractProgram, folder, '', String(2 ** 30), libraries[name]], {
        stdio: 'pipe',
      });
      const report = JSON.parse(readFileSync(join(folder, 'rank-0.json'), 'utf8')) as RankReport;
      expect(report.results.filter((result) => result.error !== undefined)).toEqual([]);
    });
  });
});
