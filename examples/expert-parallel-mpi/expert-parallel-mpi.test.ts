import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

interface Report {
  readonly rank: number;
  readonly size: number;
  readonly text: string;
  readonly weightMegabytes: number;
  readonly dispatchKilobytes: number;
}

const program = fileURLToPath(new URL('main.js', import.meta.url));
const launcher = ['mpirun.openmpi', 'mpiexec.mpich'].find(
  (command) => spawnSync(command, ['--version']).status === 0,
);
const isRequired = (process.env['MOESTACK_REQUIRE'] ?? '').split(',').includes('mpi');

async function run(command: string, ranks: number, ...options: string[]): Promise<Report[]> {
  const extra = command.includes('openmpi') ? ['--oversubscribe', '--allow-run-as-root'] : [];
  const child = spawn(command, [...extra, '-n', String(ranks), process.execPath, program, ...options], {
    env: { ...process.env, NODE_OPTIONS: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 50_000,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += String(chunk)));
  child.stderr.on('data', (chunk) => (stderr += String(chunk)));
  const [code] = (await once(child, 'close')) as [number | null];
  expect(code, stderr).toBe(0);
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Report);
}

describe('the example over MPI', () => {
  if (launcher === undefined) {
    it('needs mpirun, which is not installed', (context) => {
      if (isRequired) throw new Error('MOESTACK_REQUIRE names mpi, but mpirun is not installed');
      context.skip();
    });
    return;
  }

  it('completes on four processes what it completes on one, with a part of the weights on each', async () => {
    const [one] = await run(launcher, 1);
    const four = await run(launcher, 4);
    expect(four.map(({ rank }) => rank)).toEqual([0, 1, 2, 3]);
    expect(four[0]!.text).toBe(one!.text);
    expect(four[0]!.weightMegabytes).toBeLessThan(one!.weightMegabytes);
    expect(four.every(({ dispatchKilobytes }) => dispatchKilobytes > 0)).toBe(true);
    const compressed = await run(launcher, 4, '--payload', 'bf16', '--mode', 'low-latency');
    expect(compressed[0]!.text).not.toBe('');
  });
});
