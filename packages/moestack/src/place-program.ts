import { type Command, InvalidArgumentError, Option } from 'commander';
import { integer, list, number, oneOf, seconds } from './arguments.js';
import type { CompareCommandOptions } from './commands/place/compare.js';
import type { ConvertPlanOptions } from './commands/place/convert.js';
import type { PlanCommandOptions } from './commands/place/plan.js';
import type { RecordCommandOptions } from './commands/place/record.js';
import type { ReplayCommandOptions } from './commands/place/replay.js';
import type { Reporter } from './reporter.js';

/** What the commands need. */
export interface PlaceCommandContext {
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
}

const formats = ['moestack', 'sglang', 'sglang-pt', 'vllm', 'vllm-ascend', 'tensorrt-llm'] as const;
const policies = ['none', 'eplb', 'optimal', 'incremental'] as const;

const inputs = `
Inputs are detected by content: recorder dumps of SGLang (.pt, any mode; of per_pass and per_token the files of all
ranks), its counts as JSON, a folder with expert statistics of TensorRT-LLM, loads that moestack wrote. Layers without
tokens (dense ones) are left out of the plan.`;

const examples = {
  place: `
Examples:
  $ moestack place plan dump.pt --gpus 32 --nodes 4 --redundant 32 --groups 8 --out plan.json
  $ moestack place compare dump.pt --gpus 144 --nodes 18 --redundant 32 --html report.html
  $ moestack place convert plan.json trtllm.yaml --format tensorrt-llm`,
  plan: `${inputs}

Examples:
  $ moestack place plan dump.pt --gpus 32 --nodes 4 --redundant 32 --groups 8 --out plan.json --format sglang
  $ moestack place plan dump.pt --previous plan.json --policy incremental --gpus 32 --nodes 4 --out next.json
  $ moestack place plan ./expert_statistic --gpus 36 --redundant 32 --out balancer.yaml --format tensorrt-llm`,
  compare: `${inputs}

Examples:
  $ moestack place compare dump.pt --gpus 32 --nodes 4 --redundant 32 --groups 8 --html report.html
  $ moestack place compare dump_0.pt dump_1.pt --gpus 8 --policies none,eplb,optimal --json`,
  replay: `
A trace is recorded load by the minute: dumps or loads, one a minute in order; one recording of mode per_pass, cut into
minutes by --passes; or raw counts in row-major order with --shape. Plans see only earlier minutes; scoring begins at minute 10.

Examples:
  $ moestack place replay counts.bin --shape 360x58x256 --gpus 32 --nodes 4 --redundant 32
  $ moestack place replay dump_*.pt --gpus 64 --nodes 8 --replicas 320 --policies eplb,incremental
  $ moestack place replay recording.pt --passes 1000 --gpus 16 --json`,
  convert: `
Examples:
  $ moestack place convert plan.json map.pt --format sglang-pt --first-layer 3 --model-layers 61
  $ moestack place convert balancer.yaml expert_map.json --format vllm-ascend --gpus 36
  $ moestack place convert dump.pt load.json`,
  record: `
The server must run with --expert-distribution-recorder-mode, and its SGLANG_EXPERT_DISTRIBUTION_RECORDER_DIR must be
visible here.

Examples:
  $ moestack place record http://127.0.0.1:30000 --directory /tmp/records --seconds 600 --out load.json
  $ moestack place record http://127.0.0.1:30000 --directory /tmp/records --files 32 --out load.json`,
} as const;

/** Adds the commands of `place`. */
export function addPlaceCommands(place: Command, { reporter, signal }: PlaceCommandContext): void {
  place.addHelpText('after', examples.place);
  const command = (name: keyof typeof examples, description: string): Command =>
    place
      .command(name)
      .description(description)
      .addOption(new Option('--json', 'write one JSON object a line'))
      .addHelpText('after', examples[name]);
  planCommand(command('plan', 'plan where experts live, from recorded load'))
    .addOption(new Option('--policy <name>', 'how to plan (default: optimal)').choices(policies.slice(1)))
    .option('--out <file>', 'write the plan')
    .addOption(new Option('--format <name>', 'format of the plan (default: moestack)').choices(formats))
    .addOption(
      new Option('--heatmap <which>', 'load by layer and GPU')
        .choices(['before', 'after', 'both', 'none'])
        .default('after'),
    )
    .action(async (files: string[], options: PlanCommandOptions) => {
      const { plan } = await import('./commands/place/plan.js');
      await plan(files, options, reporter, signal);
    });
  planCommand(command('compare', 'compare policies under recorded load'))
    .option('--policies <list>', policies.join(', '), list(oneOf(policies)), [...policies])
    .action(async (files: string[], options: CompareCommandOptions) => {
      const { compare } = await import('./commands/place/compare.js');
      await compare(files, options, reporter, signal);
    });
  deploymentOptions(
    command('replay', 'what policies achieve on load that changes').argument(
      '<trace...>',
      'load by the minute',
    ),
  )
    .option('--policies <list>', 'none, eplb, incremental', list(oneOf(['none', 'eplb', 'incremental'])), [
      'none',
      'eplb',
      'incremental',
    ])
    .option(
      '--every <minutes>',
      'minutes between plans (default: eplb 10, incremental 1)',
      integer(1, 100_000),
    )
    .option('--shape <MxLxE>', 'minutes, layers and experts of raw counts', shape)
    .addOption(
      new Option('--dtype <name>', 'of raw counts, little-endian (default: uint16)').choices([
        'uint16',
        'int32',
        'float32',
        'float64',
      ]),
    )
    .option('--passes <n>', 'forward passes of a minute', integer(1, 1_000_000))
    .option(
      '--model-layers <n>',
      'MoE layers that the trace stands for (default: as in the trace)',
      integer(1, 4096),
    )
    .action(async (files: string[], options: ReplayCommandOptions) => {
      const { replayTrace } = await import('./commands/place/replay.js');
      await replayTrace(files, options, reporter, signal);
    });
  command('convert', 'write an expert map of one engine as that of another')
    .argument('<from>', 'a map, plan, dump or load; a folder of statistics')
    .argument('<to>', 'file to write')
    .addOption(new Option('--format <name>', 'of the result (default: moestack)').choices(formats))
    .option('--gpus <n>', 'GPUs, where the map does not tell', integer(1, 65_536))
    .option('--nodes <n>', 'nodes of the plan (default: 1)', integer(1, 65_536))
    .option('--groups <n>', 'expert groups of the plan', integer(1, 65_536))
    .option('--model-layers <n>', 'all layers of the model, dense ones too, for SGLang', integer(1, 4096))
    .option('--first-layer <n>', 'index in the model of the first layer of the map', integer(0, 4096))
    .action(async (from: string, to: string, options: ConvertPlanOptions) => {
      const { convertPlan } = await import('./commands/place/convert.js');
      await convertPlan(from, to, options, reporter);
    });
  command('record', 'record the expert load of a running SGLang server')
    .argument('<url>', 'of the server')
    .requiredOption('--directory <dir>', "the server's SGLANG_EXPERT_DISTRIBUTION_RECORDER_DIR")
    .option('--seconds <n>', 'how long to record', seconds, 60)
    .option(
      '--files <n>',
      'files of a dump: one per rank in the modes per_pass and per_token',
      integer(1, 65_536),
      1,
    )
    .option('--timeout <seconds>', 'longest time of a call, and of a dump to appear', seconds, 60)
    .addOption(new Option('--api-key <key>', 'of the server').env('SGLANG_API_KEY'))
    .option('--out <file>', 'write the load as JSON')
    .action(async (url: string, options: RecordCommandOptions) => {
      const { record } = await import('./commands/place/record.js');
      await record(url, options, reporter, signal);
    });
}

function deploymentOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--gpus <n>', 'GPUs that share the experts')
        .argParser(integer(1, 65_536))
        .makeOptionMandatory(),
    )
    .option('--nodes <n>', 'machines they are in', integer(1, 65_536), 1)
    .option(
      '--redundant <n>',
      'replicas beyond one of each expert (default: 0, or as the previous plan)',
      integer(0, 1_048_576),
    )
    .option('--replicas <n>', 'replicas in all, instead of --redundant', integer(1, 1_048_576))
    .option('--groups <n>', 'expert groups of group-limited routing', integer(1, 65_536))
    .option(
      '--expert-bytes <n>',
      'weights of one expert of a layer (default: 44050944, DeepSeek-V3)',
      integer(1, 2 ** 40),
    )
    .option('--locality-budget <share>', 'allowed growth of copies between nodes', number);
}

function planCommand(command: Command): Command {
  return deploymentOptions(command.argument('<load...>', 'recorded load'))
    .option('--previous <file>', 'the plan in force, any format (default: expert i % E in slot i)')
    .option('--top-k <n>', 'experts of a token (default: 8)', integer(1, 65_536))
    .option('--top-k-groups <n>', 'groups they come from (default: half)', integer(1, 65_536))
    .option('--first-layer <n>', 'index in the model of the first layer recorded', integer(0, 4096))
    .option(
      '--model-layers <n>',
      'all layers of the model, for SGLang (default: as recorded)',
      integer(1, 4096),
    )
    .option('--html <file>', 'write a page with plots');
}

function shape(text: string): [minutes: number, layers: number, experts: number] {
  const match = /^(\d{1,7})x(\d{1,4})x(\d{1,5})$/.exec(text);
  const sizes = match?.slice(1).map(Number) ?? [];
  if (sizes.length === 3 && sizes.every((size) => size > 0)) return sizes as [number, number, number];
  throw new InvalidArgumentError('Expected minutes, layers and experts as 360x58x256.');
}
