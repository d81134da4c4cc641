import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createWriteStream, mkdtempSync, rmSync, type WriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** One thing to time, as both sides understand it. */
export interface Command {
  readonly op: 'allToAll' | 'allReduce' | 'exchange' | 'barrier' | 'memcpy';
  readonly bytes: number;
  readonly iterations: number;
  readonly batches: number;
}

/** Processes under mpirun that wait for commands. */
export interface MpiPeer {
  readonly version: string;
  /** Seconds of one call. */
  measure(command: Command): Promise<number>;
  close(): void;
}

/** Compiles the C program with mpicc and starts it under mpirun; undefined where there is no MPI. */
export async function startMpiPeer(source: string, ranks: number): Promise<MpiPeer | undefined> {
  const folder = mkdtempSync(join(tmpdir(), 'moestack-mpi-'));
  const program = join(folder, 'peer');
  const compiled = spawnSync('mpicc', ['-O3', '-march=native', source, '-o', program], { stdio: 'inherit' });
  if (compiled.status !== 0) {
    rmSync(folder, { recursive: true });
    return undefined;
  }
  return startMpiJob([program], ranks, folder);
}

/** Starts a JavaScript program that understands the same commands under the same mpirun; undefined where there is no MPI. */
export async function startMpiNode(script: string, ranks: number): Promise<MpiPeer | undefined> {
  return startMpiJob([process.execPath, script], ranks, mkdtempSync(join(tmpdir(), 'moestack-mpi-')));
}

/** Each rank gets the path of its pipe without the rank's number as last argument. */
function startMpiJob(program: readonly string[], ranks: number, folder: string): MpiPeer | undefined {
  const version = spawnSync('mpirun', ['--version'], { encoding: 'utf8' }).stdout?.split('\n')[0];
  const pipes = Array.from({ length: ranks }, (_, rank) => join(folder, `pipe.${rank}`));
  if (!version || spawnSync('mkfifo', pipes).status !== 0) {
    rmSync(folder, { recursive: true });
    return undefined;
  }
  const root =
    process.getuid?.() === 0 ? { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' } : {};
  const child: ChildProcess = spawn('mpirun', ['-n', String(ranks), ...program, join(folder, 'pipe')], {
    env: { ...process.env, ...root },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let ended = false;
  const waiting: { resolve: (seconds: number) => void; reject: (error: Error) => void }[] = [];
  child.once('exit', (code) => {
    ended = true;
    for (const { reject } of waiting) reject(new Error(`mpirun ended with code ${code}`));
  });
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on('line', (line) => {
      waiting.shift()?.resolve((JSON.parse(line) as { seconds: number }).seconds);
    });
  }
  const writers: WriteStream[] = pipes.map((pipe) => createWriteStream(pipe));
  return {
    version,
    measure: ({ op, bytes, iterations, batches }) =>
      new Promise((resolve, reject) => {
        if (ended) return reject(new Error('mpirun has ended'));
        waiting.push({ resolve, reject });
        for (const writer of writers) writer.write(`${op} ${bytes} ${iterations} ${batches}\n`);
      }),
    close: () => {
      for (const writer of writers) writer.end();
      child.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    },
  };
}
