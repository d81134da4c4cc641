import { appendFileSync, existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TrainConfig, type TrainEvent } from '@moestack/schemas';
import { parseRunLog, type Run } from '@moestack/training';
import { CliError } from '../../errors.js';
import { writeOutput } from '../fp8/output-file.js';
import { readJson } from './read-json.js';

/** Files of a run beside its checkpoints. */
export const runFiles = { log: 'log.jsonl', config: 'config.json', plot: 'plot.html' } as const;

/** Whether a folder holds a run, begun or complete. */
export function holdsRun(directory: string): boolean {
  return existsSync(join(directory, runFiles.log));
}

/**
 * Makes the folder of a run, or opens it again: what a killed process left of its last log line is cut off.
 *
 * @returns a function that appends a record.
 */
export async function openRun(directory: string, config: TrainConfig): Promise<(event: TrainEvent) => void> {
  await mkdir(directory, { recursive: true });
  const log = join(directory, runFiles.log);
  if (existsSync(log)) {
    const bytes = await readFile(log);
    const end = bytes.lastIndexOf(0x0a) + 1;
    if (end < bytes.length) await truncate(log, end);
  }
  await writeOutput(join(directory, runFiles.config), `${JSON.stringify(config, null, 2)}\n`);
  if (!existsSync(log)) await writeFile(log, '');
  return (event) => appendFileSync(log, `${JSON.stringify(event)}\n`);
}

/** Reads configuration and log of a run. */
export async function readRun(directory: string): Promise<Run> {
  const config = await readJson(join(directory, runFiles.config), TrainConfig);
  return { config, log: parseRunLog(await readFile(join(directory, runFiles.log), 'utf8')) };
}

/**
 * Runs of folders: of those that are runs, and of those that hold runs, by name.
 *
 * @throws {@link CliError} `cli/no-run` for a folder with neither.
 */
export async function findRuns(paths: readonly string[]): Promise<Run[]> {
  const runs: Run[] = [];
  for (const path of paths) {
    if (holdsRun(path)) {
      runs.push(await readRun(path));
      continue;
    }
    const isFolder = await stat(path).then(
      (info) => info.isDirectory(),
      () => false,
    );
    const names = isFolder ? (await readdir(path)).sort() : [];
    const inner = names.map((name) => join(path, name)).filter(holdsRun);
    if (inner.length === 0) {
      throw new CliError({
        code: 'cli/no-run',
        message: `no training run in ${path}`,
        value: path,
        remedy: `name a folder that moestack train wrote: it holds ${runFiles.log} and ${runFiles.config}`,
      });
    }
    for (const folder of inner) runs.push(await readRun(folder));
  }
  return runs;
}
