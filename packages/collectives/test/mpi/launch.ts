import { execFileSync, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

/** An installed MPI implementation. */
export interface Launcher {
  readonly name: 'openmpi' | 'mpich';
  readonly command: string;
  readonly arguments: readonly string[];
}

const commands = {
  openmpi: ['mpirun.openmpi', 'mpirun'],
  mpich: ['mpirun.mpich', 'mpiexec.hydra', 'mpirun'],
} as const;
const marks = { openmpi: 'Open MPI', mpich: 'HYDRA' } as const;

/** Finds mpirun of an implementation, or undefined. */
export function findLauncher(name: Launcher['name']): Launcher | undefined {
  for (const command of commands[name]) {
    try {
      const version = execFileSync(command, ['--version'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      if (!version.includes(marks[name])) continue;
      return { name, command, arguments: name === 'openmpi' ? ['--oversubscribe'] : [] };
    } catch {
      // Not installed under this name.
    }
  }
  return undefined;
}

/** Whether this run must not skip MPI tests. */
export const isMpiRequired: boolean = (process.env['MOESTACK_REQUIRE'] ?? '').split(',').includes('mpi');

/** How a job ended. */
export interface JobResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Milliseconds of the epoch. */
  readonly endedAt: number;
}

const LONGEST_JOB_MILLISECONDS = 50_000;

/** Runs `ranks` processes of a bundled program. */
export function runJob(
  launcher: Launcher,
  ranks: number,
  program: string,
  values: readonly string[],
): Promise<JobResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      launcher.command,
      [...launcher.arguments, '-n', String(ranks), process.execPath, program, ...values],
      {
        env: { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    const timer = setTimeout(() => child.kill('SIGTERM'), LONGEST_JOB_MILLISECONDS);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => (stdout += String(chunk)));
    child.stderr.on('data', (chunk) => (stderr += String(chunk)));
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, stdout, stderr, endedAt: Date.now() });
    });
  });
}

/** Bundles a TypeScript program of this folder, for processes that run plain Node. Returns its path; the caller removes it. */
export async function bundle(source: string): Promise<string> {
  // Beside the sources, so that koffi is found; the name is ignored by git.
  const file = fileURLToPath(
    new URL(`.dev.${source.replace(/\.ts$/, '')}-${process.pid}.mjs`, import.meta.url),
  );
  await build({
    entryPoints: [fileURLToPath(new URL(source, import.meta.url))],
    outfile: file,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    conditions: ['@moestack/source'],
    external: ['koffi'],
    logLevel: 'warning',
  });
  return file;
}
