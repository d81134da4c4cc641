import { type Architecture, distributions, formats, type Preset, type Rounding } from '@moestack/fp8';
import type { Precision } from '@moestack/model';
import { Argument, type Command, Option } from 'commander';
import { integer, list, number, oneOf, tile } from './arguments.js';
import type { ConvertCommandOptions } from './commands/fp8/convert.js';
import type { EncodeCommandOptions } from './commands/fp8/encode.js';
import type { EvaluateCommandOptions } from './commands/fp8/evaluate.js';
import type { InspectCommandOptions } from './commands/fp8/inspect.js';
import type { MatmulErrorOptions } from './commands/fp8/matmul-error.js';
import type { TextInput } from './commands/fp8/number-input.js';
import type { Reporter } from './reporter.js';

/** What the commands need. */
export interface Fp8CommandContext {
  readonly reporter: Reporter;
  readonly signal: AbortSignal;
  readonly stdin: TextInput | undefined;
}

const formatNames = Object.keys(formats) as (keyof typeof formats)[];
const elementFormats = formatNames.filter((name) => formats[name].special !== 'scale');
const roundings: Rounding[] = ['nearestEven', 'nearestAway', 'towardZero', 'up', 'down', 'stochastic'];
const presets: Preset[] = [
  'ml_dtypes',
  'torch-2.13',
  'nvidia-satfinite',
  'nvidia-nosat',
  'nvidia-rz',
  'nvidia-rp',
  'nvidia-rz-nosat',
  'nvidia-rp-nosat',
];
const precisions: Precision[] = ['f32', 'bf16', 'fp8-weights', 'w8a8'];
const accumulations: (Architecture | 'f32')[] = ['hopper', 'ada', 'blackwell', 'rtx-blackwell', 'f32'];

const examples = {
  fp8: `
Examples:
  $ moestack fp8 convert ./DeepSeek-V3 ./DeepSeek-V3-bf16 --target bf16
  $ moestack fp8 encode e4m3fn 0.1 -448 1e9
  $ moestack fp8 matmul-error --k 4096 --promote 0,128`,
  convert: `
FP8 weights with block scales become BF16, F16 or F32; projections become FP8 with fp8-block. Shards are written one
by one; after an interruption the same command goes on where it ended.

Examples:
  $ moestack fp8 convert ./DeepSeek-V3 ./DeepSeek-V3-bf16 --target bf16
  $ moestack fp8 convert ./model.safetensors ./model-fp8 --target fp8-block --json`,
  inspect: `
Examples:
  $ moestack fp8 inspect ./DeepSeek-V3 --html report.html --report report.json
  $ moestack fp8 inspect ./model-fp8 --against ./model-bf16
  $ moestack fp8 inspect ./model-bf16 --format e5m2 --tile 1x128 --match experts`,
  eval: `
Perplexity, bits per byte and, against --baseline, KL divergence on a text file (UTF-8, or .jsonl with a "text" on each
line). The result is a BenchmarkRecord.

Examples:
  $ moestack fp8 eval ./model-fp8 --baseline ./model-bf16 --data heldout.txt --out record.json
  $ moestack fp8 eval ./model --data texts.jsonl --context 2048 --stride 512 --precision w8a8`,
  encode: `
Numbers are doubles and round once. Without numbers, standard input is read. Words such as -inf go after --.

Examples:
  $ moestack fp8 encode e4m3fn 0.1 -448 1e9
  $ moestack fp8 encode e5m2 --overflow nonSaturating -- 1e9 -inf nan
  $ seq 0 0.25 4 | moestack fp8 encode e2m1fn --json`,
  decode: `
Codes are decimal, 0x or 0b. Without codes, standard input is read.

Examples:
  $ moestack fp8 decode e4m3fn 0x7e 0x01 255
  $ moestack fp8 decode e8m0fnu 0b1111111`,
  formats: `
Examples:
  $ moestack fp8 formats
  $ moestack fp8 formats e2m1fn`,
  'matmul-error': `
Lists, parted by commas, give one row for each combination. Operands are E4M3 with one scale a row.

Examples:
  $ moestack fp8 matmul-error
  $ moestack fp8 matmul-error --k 1024,4096 --architecture hopper,blackwell --promote 0,128,512
  $ moestack fp8 matmul-error --distribution uniform,half-normal --json`,
} as const;

/** Adds the commands of `fp8`. */
export function addFp8Commands(fp8: Command, { reporter, signal, stdin }: Fp8CommandContext): void {
  fp8.addHelpText('after', examples.fp8);
  const command = (name: keyof typeof examples, description: string): Command =>
    fp8
      .command(name)
      .description(description)
      .addOption(new Option('--json', 'write one JSON object a line'))
      .addHelpText('after', examples[name]);
  addCheckpointCommands(command, reporter, signal);
  addNumberCommands(command, reporter, stdin);
  command('matmul-error', 'error of limited accumulation in FP8 matrix products, as tensor cores have it')
    .option('--k <list>', 'lengths of the dot products', list(integer(1, 2 ** 24)), [4096])
    .option(
      '--architecture <list>',
      `how products are added: ${accumulations.join(', ')}`,
      list(oneOf(accumulations)),
      ['hopper'],
    )
    .option(
      '--promote <list>',
      'elements of K between promotions to float32; 0: none',
      list(integer(0, 2 ** 24)),
      [0, 128],
    )
    .option('--distribution <list>', distributions.join(', '), list(oneOf(distributions)), ['normal'])
    .option('--mean <number>', 'of the normal distribution', number, 0)
    .option('--size <n>', 'rows of both operands: n * n dot products', integer(1, 4096), 48)
    .option('--seed <n>', 'of the operands', integer(0, 2 ** 32 - 1), 0)
    .addOption(new Option('--promotion <order>', 'order of the promotion').choices(['deepgemm', 'kernelpy']))
    .action(
      async ({ architecture, ...options }: MatmulErrorOptions & { architecture: typeof accumulations }) => {
        const { matmulError } = await import('./commands/fp8/matmul-error.js');
        await matmulError({ ...options, accumulate: architecture }, reporter, signal);
      },
    );
}

type CommandFactory = (name: keyof typeof examples, description: string) => Command;

function addCheckpointCommands(command: CommandFactory, reporter: Reporter, signal: AbortSignal): void {
  command('convert', 'convert a safetensors checkpoint between block-scaled FP8 and wider types')
    .argument('<from>', 'model directory or .safetensors file')
    .argument('<to>', 'new or empty directory, or one of an interrupted conversion')
    .addOption(
      new Option('-t, --target <type>', 'type of the result')
        .choices(['bf16', 'f16', 'f32', 'fp8-block'])
        .makeOptionMandatory(),
    )
    .action(async (from: string, to: string, options: ConvertCommandOptions) => {
      const { convert } = await import('./commands/fp8/convert.js');
      await convert(from, to, options, reporter, signal);
    });
  command('inspect', 'error, range, saturation, underflow and scales of every tensor of a checkpoint')
    .argument('<checkpoint>', 'model directory or .safetensors file')
    .option('--against <original>', 'what it was converted from: errors are measured against it')
    .addOption(
      new Option('--format <name>', 'quantise wide tensors to this (default: e4m3fn)').choices(
        elementFormats,
      ),
    )
    .option('--tile <rowsxcols>', 'elements under one scale (default: 128x128)', tile)
    .addOption(new Option('--scale <type>', 'scales (default: f32)').choices(['f32', 'powerOfTwo']))
    .option('--match <text>', 'only tensors whose name contains this')
    .option('--rows <n>', 'tensors in the table, largest error first', integer(0, 1_000_000), 20)
    .option('--report <file>', 'write the whole report as JSON')
    .option('--html <file>', 'write a page with plots')
    .action(async (checkpoint: string, options: InspectCommandOptions) => {
      const { inspect } = await import('./commands/fp8/inspect.js');
      await inspect(checkpoint, options, reporter, signal);
    });
  command('eval', 'perplexity and KL divergence of a model, against the one it was converted from')
    .argument('<model>', 'Hugging Face directory: config.json, safetensors, tokenizer.json')
    .requiredOption('--data <file>', 'UTF-8 text, or .jsonl with a "text" on each line')
    .option('--baseline <model>', 'what the model was converted from')
    .option(
      '--context <tokens>',
      "longest window (default: the models', at most 4096)",
      integer(1, 16_777_216),
    )
    .option('--stride <tokens>', 'new tokens of each further window (default: half)', integer(1, 16_777_216))
    .option('--max-tokens <n>', 'stop after about this many scored tokens', integer(1, 2 ** 40))
    .addOption(
      new Option('--precision <mode>', 'how to compute (default: as the checkpoint)').choices(precisions),
    )
    .addOption(new Option('--baseline-precision <mode>', 'the same for the baseline').choices(precisions))
    .option('--license <id>', 'licence of the data, for the record')
    .option('--split <name>', 'split of the data, for the record')
    .option('--out <file>', 'write the record as JSON')
    .action(async (model: string, options: EvaluateCommandOptions) => {
      const { evaluate } = await import('./commands/fp8/evaluate.js');
      await evaluate(model, options, reporter, signal);
    });
}

function addNumberCommands(command: CommandFactory, reporter: Reporter, stdin: TextInput | undefined): void {
  const format = (name: string) => new Argument(name, 'name of the format').choices(formatNames);
  command('encode', 'encode numbers, and show what becomes of them')
    .addArgument(format('<format>'))
    .argument('[numbers...]', 'numbers; default: standard input')
    .addOption(new Option('--rounding <mode>', 'default: nearestEven').choices(roundings))
    .addOption(new Option('--overflow <mode>', 'default: saturate').choices(['saturate', 'nonSaturating']))
    .addOption(new Option('--preset <name>', 'as an outside implementation').choices(presets))
    .option('--seed <n>', 'of stochastic rounding', integer(0, 2 ** 32 - 1), 0)
    .option('--float32', 'round numbers to float32 first')
    .action(async (name: keyof typeof formats, numbers: string[], options: EncodeCommandOptions) => {
      const { encode } = await import('./commands/fp8/encode.js');
      await encode(name, numbers, options, reporter, stdin);
    });
  command('decode', 'decode codes, and show their fields')
    .addArgument(format('<format>'))
    .argument('[codes...]', 'codes; default: standard input')
    .action(async (name: keyof typeof formats, codes: string[]) => {
      const { decode } = await import('./commands/fp8/decode.js');
      await decode(name, codes, reporter, stdin);
    });
  command('formats', 'layout and limits of the formats, or of one with all its codes')
    .addArgument(format('[format]'))
    .action(async (name: keyof typeof formats | undefined) => {
      const { listFormats } = await import('./commands/fp8/formats.js');
      listFormats(name, reporter);
    });
}
