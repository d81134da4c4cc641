import { Command, CommanderError, Option } from 'commander';
import { integer, positive, seconds } from './arguments.js';
import { commandGroups } from './command-groups.js';
import type { TextInput } from './commands/fp8/number-input.js';
import type { ServeOptions } from './commands/serve/serve-options.js';
import { CliError } from './errors.js';
import { type CliStreams, Reporter } from './reporter.js';
import { abortOnSignal, type SignalSource } from './shutdown.js';

/** What the command line needs around it. */
export interface CliEnvironment extends CliStreams {
  readonly signals: SignalSource;
  /** Where commands that take text look for it when the command line holds none. */
  readonly stdin?: TextInput;
  /** Ends the process when a second signal says that it takes too long. */
  readonly forceExit?: (signal: NodeJS.Signals) => void;
}

const serveHelp = `
Examples:
  $ moestack serve
  $ moestack serve --port 0 --json
  $ moestack serve --model ./DeepSeek-tiny --context 4096 --max-batch 16
  $ moestack serve --prefill-ranks 2 --decode-ranks 4 --rebalance-seconds 600
  $ moestack serve --config moestack.yaml --port 9000
  $ moestack serve --config moestack.yaml --print-config
  $ curl -s http://127.0.0.1:8000/v1/completions -H 'content-type: application/json' \\
      -d '{"prompt":"The people of the United States","max_tokens":48}'`;

const doctorHelp = `
Examples:
  $ moestack doctor
  $ moestack doctor --json`;

/**
 * Runs a command line.
 *
 * @param args - the arguments after the program's name.
 * @returns the exit code: 0, 1 after an error that was reported, 130 after work that a signal ended unfinished.
 */
export async function runCli(args: readonly string[], environment: CliEnvironment): Promise<number> {
  const reporter = new Reporter(environment, args.includes('--json'));
  const { signals, forceExit } = environment;
  let program: Command | undefined;
  const interrupt = abortOnSignal(signals, forceExit === undefined ? {} : { force: forceExit });
  try {
    const words = withoutSeparator(args);
    program = createProgram(environment, reporter, interrupt.signal);
    for (const { name, description, add } of commandGroups) {
      const group = program.command(name).description(description);
      if (words[0] !== name) continue;
      // Options after a subcommand are the subcommand's, also where its group has one of that name.
      program.enablePositionalOptions();
      await add(group, { reporter, signal: interrupt.signal, stdin: environment.stdin });
    }
    await program.parseAsync(words, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    if (interrupt.signal.aborted) {
      // A server that is told to stop has done its work; a conversion or a training run has not.
      if (!commandGroups.some(({ name }) => name === args[0])) return 0;
      reporter.error(interrupted(error, args));
      return 130;
    }
    reporter.error(error instanceof CommanderError ? usageError(error, commandPath(program, args)) : error);
    return 1;
  } finally {
    interrupt.dispose();
  }
}

function createProgram(environment: CliEnvironment, reporter: Reporter, signal: AbortSignal): Command {
  const program = new Command('moestack')
    .description(
      'DeepSeek-V3-style mixture-of-experts models on this machine: serve and train them, work with their FP8 numerics, place their experts, judge texts.',
    )
    .addHelpText('after', '\nExamples:\n  $ moestack serve\n  $ moestack doctor\n  $ moestack fp8 formats')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => environment.stdout.write(text),
      // Errors are reported once, by `runCli`; what else goes here is the help, where a command is missing.
      writeErr: (text) => {
        if (!reporter.json && !text.startsWith('error: ')) environment.stderr.write(text);
      },
    });
  const json = () => new Option('--json', 'write one JSON object a line');
  program
    .command('serve')
    .description(
      'serve a model over HTTP, or stand before pools; without --model the small one that comes along',
    )
    .option('--config <file>', 'backends, keys, limits, targets as YAML or JSON; options here win over it')
    .option('--print-config', 'show what would be served, without secrets, and end')
    .option('--model <dir>', 'a Hugging Face directory: config.json, safetensors, tokenizer.json')
    .option('--name <name>', 'name of the model in the API (default: the directory, or tiny-moe)')
    .option(
      '--host <host>',
      'address to listen on, default 127.0.0.1; 0.0.0.0 opens the server to the network',
    )
    .option(
      '--allowed-host <name...>',
      'names besides localhost that requests may give in Host, such as that of a proxy in front',
    )
    .option('--port <port>', 'port to listen on, default 8000; 0 takes a free one', integer(0, 65_535))
    .option('--max-batch <n>', 'sequences that decode together (default: 64)', integer(1, 4096))
    .option(
      '--max-waiting <n>',
      'requests that wait before new ones get 429 (default: 256)',
      integer(1, 1_000_000),
    )
    .option('--context <tokens>', "longest prompt plus answer (default: the model's)", integer(1, 16_777_216))
    .option(
      '--kv-blocks <n>',
      'KV blocks of 16 tokens of the decode stage, shared out to its ranks (default: within 1 GiB)',
      integer(1, 1_048_576),
    )
    .addOption(
      new Option('--precision <mode>', 'how to compute (default: as the checkpoint)').choices([
        'f32',
        'bf16',
        'fp8-weights',
        'w8a8',
      ]),
    )
    .addOption(
      new Option(
        '--attention <form>',
        'absorbed and naive draw the same text after a restart to the last bit (default: auto, the cheaper one)',
      ).choices(['auto', 'naive', 'absorbed']),
    )
    .option('--mixed', 'prefill and decode in one rank: half the memory')
    .option(
      '--prefill-ranks <n>',
      'threads that share the prompts and their experts (default: 1)',
      integer(1, 64),
    )
    .option(
      '--decode-ranks <n>',
      'threads that share the decoding and its experts (default: 1)',
      integer(1, 64),
    )
    .option(
      '--prefill-tensor <n>',
      'prefill ranks that share the attention heads of a prompt (default: 1)',
      integer(1, 64),
    )
    .option(
      '--decode-tensor <n>',
      'decode ranks that share the attention heads of a sequence (default: 1)',
      integer(1, 64),
    )
    .option(
      '--redundant-experts <n>',
      'further expert slots of each stage of several ranks (default: 0)',
      integer(0, 4096),
    )
    .option(
      '--rebalance-seconds <n>',
      'move experts between ranks this often, as the load says (default: never)',
      integer(1, 86_400),
    )
    .option('--max-body-bytes <n>', 'longest request body (default: 8388608)', integer(1, 2 ** 30))
    .option(
      '--drain-seconds <n>',
      'how long requests in flight may go on after SIGINT or SIGTERM (default: 30)',
      seconds,
    )
    .option('--slo-ttft-ms <n>', 'latency target for the first token', positive)
    .option('--slo-tpot-ms <n>', 'latency target per token', positive)
    .option('--access-log <file>', 'a line of JSON for each request, without its text; - is standard error')
    .option('--no-dashboard', 'no page at / and no trace at /debug/trace')
    .option(
      '--admin-key-env <name>',
      'environment variable with the key that opens dashboard and trace from other machines',
    )
    .addOption(json())
    .addHelpText('after', serveHelp)
    .action(async (options: ServeOptions) => {
      const { serve } = await import('./commands/serve/serve.js');
      await serve(options, reporter, signal);
    });
  program
    .command('doctor')
    .description('check whether this machine can serve')
    .addOption(json())
    .addHelpText('after', doctorHelp)
    .action(async () => {
      const { doctor } = await import('./commands/doctor.js');
      await doctor(reporter, signal);
    });
  return program;
}

/** `pnpm start -- --port 0` passes the `--` on, after the command's name. */
function withoutSeparator(args: readonly string[]): string[] {
  return args.filter((arg, index) => !(arg === '--' && index <= 1));
}

/** The command that `args` ask for, as far as it exists: `moestack fp8 convert`. */
function commandPath(program: Command | undefined, args: readonly string[]): string {
  const names = ['moestack'];
  let command = program;
  for (const arg of args) {
    command = command?.commands.find((candidate) => candidate.name() === arg);
    if (command === undefined) break;
    names.push(arg);
  }
  return names.join(' ');
}

function usageError(error: CommanderError, path: string): CliError {
  const isMissing = error.code === 'commander.help';
  return new CliError({
    code: isMissing ? 'cli/no-command' : `cli/${error.code.replace(/^commander\./, '')}`,
    message: isMissing ? `expected a command after ${path}` : error.message.replace(/^error: /, ''),
    remedy: `see ${path} --help`,
    cause: error,
  });
}

function interrupted(cause: unknown, [name = '', subcommand = '']: readonly string[]): CliError {
  const remedies = commandGroups.find((group) => group.name === name)?.afterInterruption ?? {};
  const own = Object.hasOwn(remedies, subcommand) ? remedies[subcommand] : undefined;
  // Options of the command itself stand where a subcommand would.
  const remedy = own ?? (subcommand.startsWith('-') || subcommand === '' ? remedies[''] : undefined);
  return new CliError({
    code: 'cli/interrupted',
    message: 'interrupted before the end',
    remedy: remedy ?? 'run the same command again: it begins anew',
    cause,
  });
}
