import type { Command } from 'commander';
import type { CliEnvironment } from './program.js';
import type { Reporter } from './reporter.js';

/** What the commands of a group work with. */
export interface GroupContext {
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  readonly stdin: CliEnvironment['stdin'];
}

/** A command, most with subcommands, loaded only when it is asked for: no other command waits for what it imports. */
export interface CommandGroup {
  readonly name: string;
  readonly description: string;
  /** What to do after an interruption, by subcommand ('' = the command itself); default: run it again. */
  readonly afterInterruption?: Readonly<Record<string, string>>;
  add(command: Command, context: GroupContext): Promise<void>;
}

/** The groups, in the order of `moestack --help`. */
export const commandGroups: readonly CommandGroup[] = [
  {
    name: 'fp8',
    description: 'FP8 numerics: checkpoints, formats, accumulation',
    afterInterruption: { convert: 'run the same command again: it goes on where it ended' },
    add: async (command, context) => (await import('./fp8-program.js')).addFp8Commands(command, context),
  },
  {
    name: 'place',
    description: 'expert placement: plans, engine files, replay',
    add: async (command, context) => (await import('./place-program.js')).addPlaceCommands(command, context),
  },
  {
    name: 'train',
    description: 'train a small DeepSeek-V3-architecture model',
    afterInterruption: {
      '': 'a checkpoint is written: run the same command with --resume to go on bit for bit',
      prepare: 'run the same command again: packages that were fetched are in the cache',
    },
    add: async (command, context) => (await import('./train-program.js')).addTrainCommands(command, context),
  },
  {
    name: 'detect',
    description: 'AI-written text: verdicts, evaluation, data audits',
    add: async (command, context) =>
      (await import('./detect-program.js')).addDetectCommands(command, context),
  },
  {
    name: 'bench',
    description: 'load test of a server: latencies, goodput, attainment of targets',
    add: async (command, context) => (await import('./bench-program.js')).addBenchCommand(command, context),
  },
  {
    name: 'plan',
    description: 'plan a deployment of DeepSeek-V3-architecture models that meets an SLO',
    add: async (command, context) =>
      (await import('./simulator-program.js')).addPlanCommand(command, context),
  },
  {
    name: 'simulate',
    description: 'simulate a deployment under traffic, by events',
    add: async (command, context) =>
      (await import('./simulator-program.js')).addSimulateCommand(command, context),
  },
];
