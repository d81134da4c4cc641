import { type Command, InvalidArgumentError, Option } from 'commander';
import { fraction, integer, number } from './arguments.js';
import type { PlanCommandOptions } from './commands/plan/plan.js';
import type { SimulateCommandOptions } from './commands/simulate/simulate.js';
import type { Reporter } from './reporter.js';

/** What the commands need. */
export interface SimulatorCommandContext {
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
}

const planExamples = `
With --rate, --trace or --users the cheapest deployment for that demand; without, the most that --gpus can serve.

Examples:
  $ moestack plan --gpus 352 --ttft 5 --tpot 0.05 --html plan.html
  $ moestack plan --accelerator h100 --gpus 96 --rate 40 --input 2000 --output 500 --emit ./deploy --engine sglang
  $ moestack plan --accelerator gb200 --gpus 144 --trace mooncake_conversation.jsonl --mtp 0.85 --json
  $ moestack plan --request request.json --out deployment.json`;

const simulateExamples = `
The deployment is a file that "moestack plan --out" wrote, or a published one: report, profile, online.

Examples:
  $ moestack simulate online --rate 300 --cached 0.56 --ttft 5 --tpot 0.05
  $ moestack simulate deployment.json --trace mooncake_conversation.jsonl --html simulation.html
  $ moestack simulate profile --users 4096 --input 4096 --output 256 --spread 0 --timeline steps.json`;

/** Adds what `plan` does. */
export function addPlanCommand(command: Command, { reporter, signal }: SimulatorCommandContext): void {
  trafficOptions(hardwareOptions(command, ''))
    .option('--request <file>', 'the whole request as JSON, instead of the options about it')
    .option('--gpus <n>', 'most GPUs that may be used', integer(1, 65_536))
    .option('--ttft <seconds>', 'longest time to the first token', positive, 5)
    .option('--tpot <seconds>', 'longest time between tokens', positive, 0.05)
    .option('--quantile <share>', 'share of the requests that must keep both', share, 0.9)
    .addOption(
      new Option('--weights <format>', 'of expert weights').choices(['bf16', 'fp8', 'fp4']).default('fp8'),
    )
    .addOption(
      new Option('--kv <format>', 'of the KV cache and core attention')
        .choices(['bf16', 'fp8'])
        .default('bf16'),
    )
    .option('--mtp <probability>', 'draft one token a step, accepted so often (default: no drafts)', fraction)
    .option('--skew <exponent>', 'of the power law of expert popularity; 0: all the same', notNegative, 0.4)
    .option('--keep <n>', 'candidates to list', integer(1, 100), 10)
    .option('--simulate <n>', 'best candidates to simulate by events', integer(0, 100), 3)
    .option('--seed <n>', 'of the simulations', integer(0, 2 ** 31 - 1), 1)
    .option('--html <file>', 'write a report to read')
    .option('--out <file>', 'write the best deployment as JSON')
    .option('--emit <dir>', 'write launch scripts, Kubernetes manifests, expert locations and a gateway file')
    .addOption(
      new Option('--engine <name>', 'that --emit writes for').choices(['sglang', 'vllm']).default('sglang'),
    )
    .option('--model-path <path>', 'folder or repository of the weights (default: deepseek-ai/DeepSeek-V3)')
    .option('--served-name <name>', "name in the API (default: the model's)")
    .option('--image <image>', "container image (default: the engine's latest)")
    .option('--load <file...>', 'recorded expert load, to plan where experts live')
    .addOption(json())
    .addHelpText('after', planExamples)
    .action(async (options: PlanCommandOptions) => {
      const { planCommand } = await import('./commands/plan/plan.js');
      await planCommand(options, reporter, signal);
    });
}

/** Adds what `simulate` does. */
export function addSimulateCommand(command: Command, { reporter, signal }: SimulatorCommandContext): void {
  trafficOptions(
    hardwareOptions(
      command.argument('<deployment>', 'a JSON file, report, profile or online'),
      'what the deployment was planned for, or ',
    ),
  )
    .option(
      '--requests <n>',
      'how many to simulate; of a trace, the first so many',
      integer(1, 100_000_000),
      10_000,
    )
    .option('--ttft <seconds>', 'longest time to the first token, with --tpot', positive)
    .option('--tpot <seconds>', 'longest time between tokens, with --ttft', positive)
    .option('--quantile <share>', 'share of the requests that must keep both', share, 0.9)
    .option(
      '--cache-blocks <n>',
      'blocks of the prefix cache, for traces that name blocks (default: no limit)',
      integer(0, 2 ** 30),
    )
    .option('--seed <n>', 'of arrivals and lengths', integer(0, 2 ** 31 - 1), 1)
    .option('--html <file>', 'write a report to read')
    .option('--timeline <file>', 'write steps for Perfetto')
    .option('--timeline-steps <n>', 'steps in it', integer(1, 10_000_000), 20_000)
    .addOption(json())
    .addHelpText('after', simulateExamples)
    .action(async (deployment: string, options: SimulateCommandOptions) => {
      const { simulateCommand } = await import('./commands/simulate/simulate.js');
      await simulateCommand(deployment, options, reporter, signal);
    });
}

function hardwareOptions(command: Command, planned: string): Command {
  return command
    .option('--accelerator <name>', `h800, h100, h200, b200, gb200, or a JSON file (default: ${planned}h800)`)
    .option(
      '--model <dir>',
      `deepseek-v3, a Hugging Face directory or its config.json (default: ${planned}deepseek-v3)`,
    )
    .option('--price <usd>', "of a GPU hour (default: the accelerator's)", notNegative);
}

function trafficOptions(command: Command): Command {
  return command
    .option('--rate <n>', 'requests a second', positive)
    .option('--input <tokens>', 'mean length of prompts (default: 4000)', integer(1, 1 << 20))
    .option('--output <tokens>', 'mean length of answers (default: 1000)', integer(1, 1 << 20))
    .option('--spread <n>', 'standard deviation over the mean; 0: all the same', notNegative, 1)
    .option(
      '--cached <share>',
      'of prompt tokens found in a cache (default: 0, or as the trace repeats prefixes)',
      zeroToOne,
    )
    .option('--burst <factor>x<seconds>', 'arrivals in bursts of so many times the rate', burst)
    .option('--users <n>', 'users who each send the next request when answered', integer(1, 1 << 20))
    .option('--trace <file>', 'lengths and times of real requests: Mooncake JSONL or Azure CSV');
}

function json(): Option {
  return new Option('--json', 'write one JSON object a line');
}

function positive(text: string): number {
  const value = number(text);
  if (value > 0) return value;
  throw new InvalidArgumentError('Expected a number above 0.');
}

function notNegative(text: string): number {
  const value = number(text);
  if (value >= 0) return value;
  throw new InvalidArgumentError('Expected a number of at least 0.');
}

function zeroToOne(text: string): number {
  const value = number(text);
  if (value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError('Expected a number from 0 to 1.');
}

function share(text: string): number {
  const value = number(text);
  if (value > 0 && value < 1) return value;
  throw new InvalidArgumentError('Expected a number between 0 and 1.');
}

function burst(text: string): { factor: number; seconds: number } {
  const match = /^(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)$/.exec(text);
  const [factor, seconds] = match?.slice(1).map(Number) ?? [0, 0];
  if (factor! >= 1 && seconds! > 0) return { factor: factor!, seconds: seconds! };
  throw new InvalidArgumentError('Expected a factor of at least 1 and seconds as 4x30.');
}
