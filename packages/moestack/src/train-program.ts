import { type Command, Option } from 'commander';
import { fraction, integer } from './arguments.js';
import type { ExportCommandOptions } from './commands/train/export.js';
import type { PlotCommandOptions } from './commands/train/plot.js';
import type { PrepareCommandOptions } from './commands/train/prepare.js';
import type { TrainCommandOptions } from './commands/train/train.js';
import type { Reporter } from './reporter.js';

/** What the commands need. */
export interface TrainCommandContext {
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
}

const examples = {
  train: `
Each run has a folder of its name: log.jsonl, plot.html, config.json and checkpoints. SIGINT and SIGTERM end the current
step, write a checkpoint and exit with 130; the same command with --resume goes on, bit for bit as if nothing had
happened, also after a kill. Several configurations run one after the other; --resume passes over complete ones.

Examples:
  $ moestack train prepare --config configs/corpus.json
  $ moestack train --config configs/default.json
  $ moestack train --config configs/default.json --resume --json
  $ moestack train --config configs/experiment/*.json --directory experiment --resume`,
  prepare: `
Fetches the packages that the configuration names (npm pack; the cache serves later runs without a network), cleans and
splits the texts, removes near-duplicates and excluded passages, trains the tokenizer, and writes token files with a
manifest of documents, licences and hashes.

Examples:
  $ moestack train prepare --config configs/corpus.json
  $ moestack train prepare --config corpus.json --directory ./corpus --json`,
  export: `
Writes what a run has learnt, at its newest checkpoint, as a Hugging Face directory: config.json, model.safetensors and
the tokenizer. moestack serve --model and moestack fp8 eval read it.

Examples:
  $ moestack train export runs/default ./model
  $ moestack train export runs/default ./model-bf16 --format bf16
  $ moestack train export runs/default ./model-early --step 2000`,
  plot: `
One page without scripts: loss, gradient norm, MaxVio per layer, learning rate. Several runs lie over each other, with
the relative loss error of each recipe against the baseline and the baseline's spread between seeds.

Examples:
  $ moestack train plot runs/default
  $ moestack train plot experiment --out experiment.html --baseline bf16`,
} as const;

/** Adds `train` and what belongs to it. */
export function addTrainCommands(train: Command, { reporter, signal }: TrainCommandContext): void {
  const json = () => new Option('--json', 'write one JSON object a line');
  // Else `train` would take the options of its subcommands for its own.
  train.parent?.enablePositionalOptions();
  train
    .enablePositionalOptions()
    .option('--config <files...>', 'configurations (TrainConfig), run one after the other')
    .option('--directory <dir>', 'where the folders of the runs are', 'runs')
    .option('--resume', 'go on from the newest checkpoint; begin where there is none')
    .addOption(json())
    .addHelpText('after', examples.train)
    .action(async (options: TrainCommandOptions) => {
      const { train: run } = await import('./commands/train/train.js');
      await run(options, reporter, signal);
    });
  train
    .command('prepare')
    .description('make a corpus and its tokenizer')
    .requiredOption('--config <file>', 'configuration of the corpus (CorpusConfig)')
    .option('--directory <dir>', 'where the files go (default: beside the configuration, by its name)')
    .option('--cache <dir>', 'where package archives are kept (default: moestack/packages in the user cache)')
    .option('--context <tokens>', 'context that tokenizer_config.json names', integer(1, 65_536), 512)
    .addOption(json())
    .addHelpText('after', examples.prepare)
    .action(async (options: PrepareCommandOptions) => {
      const { prepare } = await import('./commands/train/prepare.js');
      await prepare(options, reporter, signal);
    });
  train
    .command('export')
    .description('write the model of a run')
    .argument('<run>', 'folder of the run')
    .argument('<to>', 'folder of the model')
    .addOption(
      new Option('--format <type>', 'of the projections').choices(['fp8', 'bf16', 'f32']).default('fp8'),
    )
    .option('--tokenizer <file>', "tokenizer.json (default: the run's)")
    .option(
      '--positions <tokens>',
      'context that config.json names (default: of the training)',
      integer(1, 1 << 20),
    )
    .option('--step <n>', 'checkpoint to take (default: the newest)', integer(1, 100_000_000))
    .addOption(json())
    .addHelpText('after', examples.export)
    .action(async (run: string, to: string, options: ExportCommandOptions) => {
      const { exportRun } = await import('./commands/train/export.js');
      await exportRun(run, to, options, reporter);
    });
  train
    .command('plot')
    .description('draw the logs of runs')
    .argument('<runs...>', 'folders of runs, or folders that hold such')
    .option('--out <file>', 'the page', 'plot.html')
    .option('--title <text>', 'title of the page')
    .option('--baseline <recipe>', 'recipe that others are compared with', 'bf16')
    .option('--last <fraction>', 'part of the steps that is compared, from the end', fraction, 0.2)
    .addOption(json())
    .addHelpText('after', examples.plot)
    .action(async (runs: string[], options: PlotCommandOptions) => {
      const { plot } = await import('./commands/train/plot.js');
      await plot(runs, options, reporter);
    });
}
