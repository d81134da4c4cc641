import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fixturePath, readFixtureJson } from '@moestack/fixtures';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRuntime } from '../src/index.js';
import { batchOf, SIZES } from './batches.js';
import { maxAbs, readGolden, tensor } from './golden.js';
import type { MpiReport, MpiTask } from './mpi-rank.js';

const launchers = ['mpirun.openmpi', 'mpiexec.mpich'].filter(
  (command) => spawnSync(command, ['--version']).status === 0,
);
const [launcher] = launchers;
const isRequired = (process.env['MOESTACK_REQUIRE'] ?? '').split(',').includes('mpi');
const directory = fixturePath('routing-model/tiny-v3');
const golden = readFixtureJson<{ prompts: number[][]; variants: Record<string, { greedy: number[][] }> }>(
  'routing-model/tiny-v3/golden.json',
);

// Beside the sources, so that koffi is found; the name is ignored by git.
const program = fileURLToPath(new URL(`.dev.mpi-rank-${process.pid}.mjs`, import.meta.url));
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'moestack-model-'));
  await build({
    entryPoints: [fileURLToPath(new URL('mpi-rank.ts', import.meta.url))],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    conditions: ['@moestack/source'],
    external: ['koffi'],
    logLevel: 'warning',
  });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  rmSync(program, { force: true });
});

async function run(
  command: string,
  ranks: number,
  task: Omit<MpiTask, 'directory' | 'report'>,
): Promise<MpiReport[]> {
  const report = join(folder, `ranks-${ranks}-${task.routing.mode}`);
  const extra = command.includes('openmpi') ? ['--oversubscribe', '--allow-run-as-root'] : [];
  const values = [...extra, '-n', String(ranks), process.execPath, program];
  const child = spawn(command, [...values, JSON.stringify({ ...task, directory, report })], {
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 50_000,
    killSignal: 'SIGKILL',
  });
  let stderr = '';
  child.stderr.on('data', (chunk) => (stderr += String(chunk)));
  const [code] = (await once(child, 'close')) as [number | null];
  expect(code, stderr).toBe(0);
  return Array.from(
    { length: ranks },
    (_, rank) => JSON.parse(readFileSync(`${report}-${rank}.json`, 'utf8')) as MpiReport,
  );
}

describe('experts over MPI processes', () => {
  if (launcher === undefined) {
    it('needs mpirun, which is not installed', (context) => {
      if (isRequired) throw new Error('MOESTACK_REQUIRE names mpi, but mpirun is not installed');
      context.skip();
    });
    return;
  }

  it.each([1, 2, 4])('give the golden logits and greedy tokens on %s ranks', async (ranks) => {
    const expected = golden.variants['yarn']!.greedy.slice(0, ranks);
    const reports = await run(launcher, ranks, {
      precision: 'f32',
      routing: { mode: 'direct', payload: 'f32' },
      prompts: golden.prompts,
      greedy: expected[0]!.length,
    });
    const reference = tensor(readGolden('routing-model/tiny-v3/golden.safetensors'), 'yarn.logits').f32;
    expect(maxAbs(Float32Array.from(reports[0]!.logits), reference)).toBeLessThanOrEqual(1e-4);
    expect(reports.slice(0, expected.length).map((report) => report.greedy)).toEqual(expected);
  });

  it.each(launchers)('share the heads of two sequences on four ranks started by %s', async (command) => {
    const expected = golden.variants['yarn']!.greedy.slice(0, 2);
    const reports = await run(command, 4, {
      precision: 'f32',
      routing: { mode: 'direct', payload: 'f32' },
      tensor: 2,
      prompts: golden.prompts,
      greedy: expected[0]!.length,
    });
    const reference = tensor(readGolden('routing-model/tiny-v3/golden.safetensors'), 'yarn.logits').f32;
    expect(maxAbs(Float32Array.from(reports[1]!.logits), reference)).toBeLessThanOrEqual(1e-4);
    expect(reports.map((report) => report.greedy)).toEqual([0, 0, 1, 1].map((i) => expected[i]));
  });

  it.each(['direct', 'low-latency'] as const)('have the bits of the emulation: %s, FP8', async (mode) => {
    const routing = { mode, payload: 'fp8' } as const;
    const prompts = golden.prompts.slice(0, 1);
    const [report] = await run(launcher, 4, { precision: 'fp8-weights', routing, prompts, greedy: 0 });
    const emulate = { ...routing, ranks: 4 };
    const runtime = await openRuntime(directory, { ...SIZES, precision: 'fp8-weights', emulate });
    const expected = runtime.forwardAll(batchOf(Int32Array.from(prompts[0]!)));
    expect(maxAbs(Float32Array.from(report!.logits), expected)).toBe(0);
  });
});
