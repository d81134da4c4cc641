import { dirname, join, resolve } from 'node:path';
import { TrainConfig, type TrainData, type TrainEvent } from '@moestack/schemas';
import {
  createTokenSource,
  type FileTokenSource,
  train as runTraining,
  trainingPage,
} from '@moestack/training';
import { CliError } from '../../errors.js';
import type { Reporter } from '../../reporter.js';
import { writeOutput } from '../fp8/output-file.js';
import { readJson } from './read-json.js';
import { findRuns, holdsRun, openRun, readRun, runFiles } from './run-directory.js';
import { TrainProgress } from './train-progress.js';

/** Options of `moestack train`. */
export interface TrainCommandOptions {
  readonly config?: readonly string[];
  readonly directory: string;
  readonly resume?: boolean;
}

/** A run that is to be done. */
interface PlannedRun {
  readonly config: TrainConfig;
  readonly directory: string;
  /** Token file. */
  readonly file: string;
}

/** Trains models, one after the other; a signal ends the current one with a checkpoint. */
export async function train(
  options: TrainCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  // All are checked before the first begins, which may take hours.
  const runs = await planRuns(options);
  for (const run of runs) {
    signal.throwIfAborted();
    const { config, directory } = run;
    if (holdsRun(directory) && (await readRun(directory)).log.end?.reason === 'complete') {
      const event = { event: 'complete-already', run: config.name, directory };
      reporter.note(event, `${config.name}: complete already`);
      continue;
    }
    await trainOne(run, reporter, signal);
  }
  if (runs.length > 1) await drawAll(options.directory, runs, reporter);
}

async function planRuns({
  config: files = [],
  directory,
  resume = false,
}: TrainCommandOptions): Promise<PlannedRun[]> {
  if (files.length === 0) {
    throw new CliError({
      code: 'cli/missing-config',
      message: 'expected a configuration',
      remedy: 'name one with --config FILE; see moestack train --help',
    });
  }
  const runs: PlannedRun[] = [];
  for (const file of files) {
    const config = withFullPaths(await readJson(file, TrainConfig), file);
    const run = { config, directory: join(directory, folderName(config.name)), file: config.data.train };
    if (runs.some((other) => other.directory === run.directory)) throw sameName(config.name);
    if (!resume && holdsRun(run.directory)) throw runExists(run);
    openSource(run).close();
    runs.push(run);
  }
  return runs;
}

async function trainOne(run: PlannedRun, reporter: Reporter, signal: AbortSignal): Promise<void> {
  const { config, directory } = run;
  const append = await openRun(directory, config);
  const progress = new TrainProgress(reporter, config);
  const source = openSource(run);
  let last: TrainEvent | undefined;
  const onEvent = (event: TrainEvent): void => {
    append(event);
    progress.update(event);
    last = event;
  };
  try {
    await runTraining(config, {
      directory,
      signal,
      onEvent,
      clock: () => performance.now() / 1000,
      ...(config.ranks === 1
        ? { source }
        : { sourceSpec: { module: sourceModule(), options: sourceOptions(run) } }),
    });
  } finally {
    progress.stop();
    source.close();
  }
  await writeOutput(join(directory, runFiles.plot), trainingPage([await readRun(directory)]));
  if (last?.type === 'end' && last.reason === 'complete') {
    const { step, tokens, loss } = last;
    reporter.result({ event: 'trained', run: config.name, directory, step, tokens, loss }, [
      `${config.name}: ${step} steps, ${tokens} tokens, loss ${loss.toFixed(4)}; see ${join(directory, runFiles.plot)}`,
    ]);
    return;
  }
  const step = last?.type === 'end' ? last.step : 0;
  reporter.note(
    { event: 'stopped', run: config.name, directory, step },
    `${config.name}: stopped after step ${step} of ${config.steps}, checkpoint written`,
  );
  signal.throwIfAborted();
}

/** The plot of all runs over each other. */
async function drawAll(directory: string, runs: readonly PlannedRun[], reporter: Reporter): Promise<void> {
  const file = join(directory, runFiles.plot);
  await writeOutput(file, trainingPage(await findRuns(runs.map((run) => run.directory))));
  reporter.note({ event: 'plotted', file, runs: runs.map(({ config }) => config.name) }, `all runs: ${file}`);
}

function openSource(run: PlannedRun): FileTokenSource {
  const source = createTokenSource(sourceOptions(run));
  const { vocabularySize } = run.config.model;
  if (source.vocabularySize <= vocabularySize) return source;
  source.close();
  throw new CliError({
    code: 'cli/bad-config',
    message: `expected a vocabularySize of at least ${source.vocabularySize} for the corpus, got ${vocabularySize}`,
    value: vocabularySize,
    remedy: 'change model.vocabularySize, or prepare the corpus with a smaller vocabulary',
  });
}

function sourceOptions({ config, file }: PlannedRun): Parameters<typeof createTokenSource>[0] {
  const { contextTokens, batchSequences, ranks, seeds } = config;
  return { file, contextTokens, batchSequences, ranks, seed: seeds.data };
}

function sourceModule(): string {
  return import.meta.resolve('@moestack/training/token-source');
}

/** The run's own copy of the configuration must find its data from elsewhere. */
function withFullPaths(config: TrainConfig, file: string): TrainConfig & { data: TrainData } {
  const { data } = config;
  if (data !== undefined) {
    const full = (path: string): string => resolve(dirname(file), path);
    const { tokenizer, train: tokens, heldOut } = data;
    const paths = { tokenizer: full(tokenizer), train: full(tokens) };
    return { ...config, data: heldOut === undefined ? paths : { ...paths, heldOut: full(heldOut) } };
  }
  throw new CliError({
    code: 'cli/bad-config',
    message: `${file} names no data`,
    value: file,
    remedy: 'add data.tokenizer and data.train; moestack train prepare makes the files',
  });
}

function folderName(name: string): string {
  if (/^[\w-][\w.-]*$/.test(name)) return name;
  throw new CliError({
    code: 'cli/bad-config',
    message: `expected a name of letters, digits, dots and dashes, got ${JSON.stringify(name)}`,
    value: name,
    remedy: 'change name: the folder of the run is called so',
  });
}

function sameName(name: string): CliError {
  return new CliError({
    code: 'cli/bad-config',
    message: `two configurations are called ${name}`,
    value: name,
    remedy: 'give each run its own name',
  });
}

function runExists({ config, directory }: PlannedRun): CliError {
  return new CliError({
    code: 'cli/run-exists',
    message: `${directory} holds a run of ${config.name} already`,
    value: directory,
    remedy: 'go on with --resume, or choose another --directory',
  });
}
