import { type Command, Option } from 'commander';
import { fraction, integer, number, positive } from './arguments.js';
import type { GroupContext } from './command-groups.js';
import type { BenchCommandOptions } from './commands/bench/bench.js';

const help = `
Without --url it starts the embedded server on a free port, measures it over HTTP, and stops it. Requests come from a
trace (Mooncake JSONL, Azure CSV: arrival times and lengths, no text; prompts of those lengths are made up, with the
shared prefixes that hash_ids tell of) or, without --trace, by chance at --rate. With --concurrency and no --rate, so
many requests run at any time.

Latencies are the client's: TTFT from sending to first text, TPOT the mean time between the tokens of a request, ITL
between pieces of text. Goodput counts requests within --slo-ttft-ms and --slo-tpot-ms. SIGINT ends the test; the report is of
what ended before.

Examples:
  $ moestack bench --rate 20 --requests 200
  $ moestack bench --url http://127.0.0.1:8000 --concurrency 8 --duration 30
  $ moestack bench --trace mooncake.jsonl --requests 300 --rate 10 --input-scale 0.01 --output-scale 0.1 --html bench.html
  $ moestack bench --trace azure.csv --duration 60 --slo-ttft-ms 500 --slo-tpot-ms 50 --fail-below 0.9 --json`;

/** Adds what `moestack bench` takes. */
export function addBenchCommand(bench: Command, { reporter, signal }: GroupContext): void {
  bench
    .option('--url <url>', 'an OpenAI-compatible server, with or without /v1 (default: an embedded one)')
    .option(
      '--model <name>',
      "model to ask, default the server's first; without --url a Hugging Face directory",
    )
    .option('--api-key-env <name>', 'environment variable that holds the API key')
    .addOption(
      new Option('--endpoint <name>', 'what is asked')
        .choices(['completions', 'chat'])
        .default('completions'),
    )
    .option('--trace <file>', 'Mooncake JSONL or Azure CSV')
    .option('--rate <n>', 'mean requests a second; a trace is sped up or slowed down to it', positive)
    .option('--concurrency <n>', 'most requests at once', integer(1, 100_000))
    .option('--closed', 'keep --concurrency requests running, whatever the arrival times')
    .option('--requests <n>', 'so many requests (default: the trace, or 100)', integer(1, 1_000_000))
    .option('--duration <seconds>', 'requests that are due within so many seconds', positive)
    .option('--input-tokens <n>', 'prompt of a request without --trace', integer(1, 1_000_000), 64)
    .option('--output-tokens <n>', 'answer of a request without --trace', integer(1, 1_000_000), 64)
    .option('--shared <fraction>', 'part of every prompt that is the same, without --trace', fraction)
    .option('--input-scale <n>', 'prompts of the trace are so many times as long', positive, 1)
    .option('--output-scale <n>', 'answers of the trace are so many times as long', positive, 1)
    .option('--max-input-tokens <n>', 'longer prompts are cut to it', integer(1, 1_000_000))
    .option('--max-output-tokens <n>', 'longer answers are cut to it', integer(1, 1_000_000))
    .option('--slo-ttft-ms <n>', 'target for the first token', positive)
    .option('--slo-tpot-ms <n>', 'target per token', positive)
    .option('--abort-fraction <n>', 'requests that the client leaves half way', fraction)
    .option('--timeout-seconds <n>', 'deadline of a request (default: 600)', positive)
    .option('--seed <n>', 'of arrivals, prompts and aborts', integer(0, 2 ** 32 - 1), 1)
    .option('--fail-below <fraction>', 'exit with 1 when less of the requests meets the targets', number)
    .option('--out <file>', 'write the LoadReport, with a row for every request')
    .option('--html <file>', 'write a page with plots')
    .addOption(new Option('--json', 'write one JSON object a line'))
    .addHelpText('after', help)
    .action(async (options: BenchCommandOptions) => {
      const { bench: run } = await import('./commands/bench/bench.js');
      await run(options, reporter, signal);
    });
}
