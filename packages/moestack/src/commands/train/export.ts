import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TrainConfig } from '@moestack/schemas';
import { exportModel, readCheckpoint, Trainer } from '@moestack/training';
import { CliError } from '../../errors.js';
import type { Reporter } from '../../reporter.js';
import { readJson } from './read-json.js';
import { runFiles } from './run-directory.js';

/** Options of `moestack train export`. */
export interface ExportCommandOptions {
  readonly format: 'fp8' | 'bf16' | 'f32';
  readonly tokenizer?: string;
  readonly positions?: number;
  readonly step?: number;
}

/** Prepared corpora end their documents with it. */
const endOfTextId = 0;

/** Writes the model of a run at its newest checkpoint, or that of a step, with its tokenizer. */
export async function exportRun(
  directory: string,
  to: string,
  options: ExportCommandOptions,
  reporter: Reporter,
): Promise<void> {
  const { format, positions, step } = options;
  const config = await readJson(join(directory, runFiles.config), TrainConfig);
  const tokenizer = options.tokenizer ?? config.data?.tokenizer;
  const state = await readCheckpoint(directory, config, step === undefined ? {} : { step });
  if (state === undefined || tokenizer === undefined) {
    const of = step === undefined ? '' : ` of step ${step}`;
    const missing = state === undefined ? `checkpoint${of}` : 'tokenizer';
    throw new CliError({
      code: 'cli/no-run',
      message: `the run ${directory} has no ${missing} yet`,
      value: directory,
      remedy:
        state === undefined
          ? 'train until there is one; milestones in the configuration are kept'
          : 'name one with --tokenizer',
    });
  }
  // All ranks hold the same weights: one is enough to write them.
  const trainer = new Trainer({ ...config, ranks: 1 });
  trainer.restore(state);
  await mkdir(to, { recursive: true });
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    await copyFile(name === 'tokenizer.json' ? tokenizer : join(dirname(tokenizer), name), join(to, name));
  const generation = {
    do_sample: true,
    temperature: 0.8,
    top_k: 40,
    max_new_tokens: 128,
    eos_token_id: endOfTextId,
  };
  await writeFile(join(to, 'generation_config.json'), `${JSON.stringify(generation, null, 1)}\n`);
  await exportModel(trainer, to, {
    format,
    endOfSequenceId: endOfTextId,
    ...(positions !== undefined && { maximumPositions: positions }),
  });
  reporter.result({ event: 'exported', run: config.name, directory: to, format, step: state.step }, [
    `${to}: ${config.name} after ${state.step} steps, as ${format}`,
  ]);
}
