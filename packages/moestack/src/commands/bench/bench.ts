import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { LoadReport } from '@moestack/schemas';
import { AbortedError } from '@moestack/schemas/errors';
import {
  type LoadOptions,
  type LoadTrace,
  parseTrace,
  runLoad,
  syntheticTrace,
} from '@moestack/serving/load';
import { CliError } from '../../errors.js';
import { ProgressDisplay } from '../../progress-display.js';
import type { Reporter } from '../../reporter.js';
import { checkOutput, writeOutput } from '../fp8/output-file.js';
import { benchPage } from './bench-page.js';
import { reportLines } from './report-lines.js';
import { type BenchTarget, startTarget } from './target.js';

/** Options of `moestack bench`. */
export interface BenchCommandOptions {
  readonly url?: string;
  readonly model?: string;
  readonly apiKeyEnv?: string;
  readonly endpoint: 'completions' | 'chat';
  readonly trace?: string;
  readonly rate?: number;
  readonly concurrency?: number;
  readonly closed?: boolean;
  readonly requests?: number;
  readonly duration?: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly shared?: number;
  readonly inputScale: number;
  readonly outputScale: number;
  readonly maxInputTokens?: number;
  readonly maxOutputTokens?: number;
  readonly sloTtftMs?: number;
  readonly sloTpotMs?: number;
  readonly abortFraction?: number;
  readonly timeoutSeconds?: number;
  readonly seed: number;
  readonly failBelow?: number;
  readonly out?: string;
  readonly html?: string;
}

const mostTraceBytes = 256 * 2 ** 20;
const defaultRequests = 100;
/** Of an embedded server whose bounds the trace does not know: most of its context goes to the prompt. */
const inputShare = 0.6;

/** Sends the requests of a trace, or some by chance, to a server and reports how they were answered. */
export async function bench(
  options: BenchCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  checkOptions(options);
  for (const file of [options.out, options.html]) if (file !== undefined) await checkOutput(file);
  const trace = await traceOf(options);
  const apiKey = keyOf(options);
  const target = await startTarget(options, reporter, signal);
  let report: LoadReport;
  try {
    report = await measure(options, target, trace, apiKey, reporter, signal);
  } finally {
    await target.close();
  }
  if (report.requests.sent === 0) throw new AbortedError('the load test', signal.reason);
  if (options.out !== undefined) await writeOutput(options.out, `${JSON.stringify(report, undefined, 1)}\n`);
  if (options.html !== undefined) await writeOutput(options.html, benchPage(report));
  const { rows: _, ...summary } = report;
  reporter.result({ event: 'benchmarked', report: summary }, reportLines(report));
  for (const file of [options.out, options.html]) {
    if (file !== undefined) reporter.note({ event: 'written', file }, `${file} written`);
  }
  const { failBelow } = options;
  const attained = report.attainment?.all ?? 1;
  if (failBelow === undefined || attained >= failBelow) return;
  throw new CliError({
    code: 'cli/targets-missed',
    message: `${(attained * 100).toFixed(1)} % of the requests met the targets, --fail-below asks for ${failBelow * 100} %`,
    value: attained,
    remedy: 'see the latencies above: lower the rate, relax the targets, or give the server more',
  });
}

async function measure(
  options: BenchCommandOptions,
  target: BenchTarget,
  trace: LoadTrace,
  apiKey: string | undefined,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<LoadReport> {
  const progress = new ProgressDisplay(reporter, {
    label: 'benchmarking',
    total: (total) => `${total} requests`,
    fields: ['ended', 'requests'],
  });
  try {
    return await runLoad({
      url: target.url,
      trace,
      ...scaleOf(options, trace, target.contextTokens),
      ...(target.model !== undefined && { model: target.model }),
      ...(apiKey !== undefined && { apiKey }),
      endpoint: options.endpoint,
      ...arrivalsOf(options),
      ...sloOf(options),
      ...(options.abortFraction !== undefined && { abortFraction: options.abortFraction }),
      ...(options.timeoutSeconds !== undefined && { timeoutSeconds: options.timeoutSeconds }),
      seed: options.seed,
      keepRows: options.out !== undefined || options.html !== undefined,
      onProgress: ({ ended, total }) => progress.update(ended, total),
      signal,
    });
  } finally {
    progress.stop();
  }
}

function checkOptions(options: BenchCommandOptions): void {
  const { closed, concurrency, failBelow, sloTtftMs, sloTpotMs } = options;
  if (closed === true && concurrency === undefined) {
    throw new CliError({
      code: 'cli/missing-option',
      message: '--closed needs --concurrency',
      remedy: 'say how many requests are to run at any time, such as --concurrency 8',
    });
  }
  if (failBelow !== undefined && (failBelow < 0 || failBelow > 1)) {
    throw new CliError({
      code: 'cli/bad-option',
      message: `expected a fraction from 0 to 1 for --fail-below, got ${failBelow}`,
      value: failBelow,
      remedy: 'pass 0.9 for 90 %',
    });
  }
  if (failBelow !== undefined && sloTtftMs === undefined && sloTpotMs === undefined) {
    throw new CliError({
      code: 'cli/missing-option',
      message: '--fail-below needs a target',
      remedy: 'add --slo-ttft-ms or --slo-tpot-ms',
    });
  }
}

/** The trace of the file, or one by chance. */
async function traceOf(options: BenchCommandOptions): Promise<LoadTrace> {
  const { trace: file, rate = 10, duration } = options;
  if (file === undefined) {
    const requests =
      options.requests ?? (duration === undefined ? defaultRequests : Math.ceil(rate * duration * 1.5) + 10);
    return syntheticTrace({
      requests: Math.min(1_000_000, requests),
      ratePerSecond: rate,
      inputTokens: options.inputTokens,
      outputTokens: options.outputTokens,
      ...(options.shared !== undefined && { sharedFraction: options.shared }),
      seed: options.seed,
    });
  }
  let bytes: Uint8Array;
  try {
    const { size } = await stat(file);
    if (size > mostTraceBytes) throw tooLong(file, size);
    bytes = await readFile(file);
  } catch (cause) {
    if (CliError.isInstance(cause)) throw cause;
    throw new CliError({
      code: 'cli/cannot-read',
      message: `cannot read ${file}: ${cause instanceof Error ? cause.message : String(cause)}`,
      value: file,
      remedy: 'pass a Mooncake JSONL or an Azure CSV trace',
      cause,
    });
  }
  const trace = parseTrace(basename(file), bytes);
  if (trace.requests.length > 0) return trace;
  throw new CliError({
    code: 'cli/bad-input',
    message: `${file} holds no request`,
    value: file,
    remedy: 'pass a trace with at least one row',
  });
}

function tooLong(file: string, size: number): CliError {
  return new CliError({
    code: 'cli/bad-input',
    message: `${file} has ${size} bytes, at most ${mostTraceBytes} are read`,
    value: size,
    remedy: 'cut the trace to the part that is to be replayed',
  });
}

function keyOf({ apiKeyEnv }: BenchCommandOptions): string | undefined {
  if (apiKeyEnv === undefined) return undefined;
  const key = process.env[apiKeyEnv];
  if (key !== undefined && key !== '') return key;
  throw new CliError({
    code: 'cli/missing-key',
    message: `the environment variable ${apiKeyEnv} is not set`,
    value: apiKeyEnv,
    remedy: `export ${apiKeyEnv} with the API key, or leave --api-key-env out`,
  });
}

/** How the trace is fitted to rate, bounds and, for an embedded server, its context. */
function scaleOf(
  options: BenchCommandOptions,
  trace: LoadTrace,
  contextTokens: number | undefined,
): Pick<
  LoadOptions,
  | 'timeScale'
  | 'inputScale'
  | 'outputScale'
  | 'requests'
  | 'maxInputTokens'
  | 'maxOutputTokens'
  | 'durationSeconds'
> {
  const { rate, requests, duration, maxInputTokens, maxOutputTokens } = options;
  const fromFile = options.trace !== undefined;
  const most = contextTokens === undefined ? undefined : Math.max(1, Math.floor(contextTokens * inputShare));
  const input = maxInputTokens ?? most;
  const output =
    maxOutputTokens ?? (most === undefined ? undefined : Math.max(1, contextTokens! - (input ?? 0) - 8));
  return {
    ...(fromFile && rate !== undefined && { timeScale: meanRate(trace, requests) / rate }),
    inputScale: fromFile ? options.inputScale : 1,
    outputScale: fromFile ? options.outputScale : 1,
    ...(requests !== undefined && { requests }),
    ...(input !== undefined && { maxInputTokens: input }),
    ...(output !== undefined && { maxOutputTokens: output }),
    ...(duration !== undefined && { durationSeconds: duration }),
  };
}

/** Requests a second of the part of the trace that is replayed. */
function meanRate({ requests }: LoadTrace, most: number | undefined): number {
  const count = Math.min(requests.length, most ?? requests.length);
  const seconds = (requests[count - 1]!.arrivalUs - requests[0]!.arrivalUs) / 1e6;
  return seconds > 0 ? (count - 1) / seconds : 1;
}

function arrivalsOf({
  closed,
  concurrency,
  rate,
  trace,
}: BenchCommandOptions): Pick<LoadOptions, 'arrivals' | 'concurrency'> {
  const isClosed = closed ?? (concurrency !== undefined && rate === undefined && trace === undefined);
  return { arrivals: isClosed ? 'closed' : 'open', ...(concurrency !== undefined && { concurrency }) };
}

function sloOf({ sloTtftMs, sloTpotMs }: BenchCommandOptions): Pick<LoadOptions, 'slo'> {
  if (sloTtftMs === undefined && sloTpotMs === undefined) return {};
  return {
    slo: {
      ...(sloTtftMs !== undefined && { ttftSeconds: sloTtftMs / 1000 }),
      ...(sloTpotMs !== undefined && { tpotSeconds: sloTpotMs / 1000 }),
    },
  };
}
