import { PrefixCache } from '@moestack/scheduler';
import { MOONCAKE_BLOCK_TOKENS } from '@moestack/schemas';
import { linesOf, readTrace, type SimulatedRequest, type Workload } from '@moestack/simulator';
import { badInput, readText } from './read-file.js';

/** Traffic as the command line describes it. */
export interface TrafficOptions {
  readonly rate?: number;
  readonly input?: number;
  readonly output?: number;
  readonly spread: number;
  readonly cached?: number;
  readonly burst?: { readonly factor: number; readonly seconds: number };
  readonly users?: number;
  readonly trace?: string;
}

/** Samples of lengths that a workload holds at most. */
const mostSamples = 1_000_000;
const longest = 1 << 20;

/** A workload of the options: distributions, or the lengths and the rate of a trace. */
export async function readWorkload(options: TrafficOptions): Promise<Workload> {
  const { rate, cached, burst, users, trace } = options;
  const measured = trace === undefined ? undefined : await measure(trace);
  const arrivals: Workload['arrivals'] =
    users !== undefined
      ? { kind: 'closed', concurrency: users }
      : burst === undefined
        ? { kind: 'poisson' }
        : { kind: 'bursts', factor: burst.factor, burstSeconds: burst.seconds };
  return {
    requestsPerSecond: rate ?? measured?.requestsPerSecond ?? 1,
    inputTokens: measured?.inputTokens ?? lengths(options.input ?? 4000, options.spread),
    outputTokens: measured?.outputTokens ?? lengths(options.output ?? 1000, options.spread),
    cachedFraction: cached ?? measured?.cachedFraction ?? 0,
    arrivals,
  };
}

function lengths(mean: number, deviation: number): Workload['inputTokens'] {
  if (deviation === 0) return { kind: 'fixed', tokens: Math.round(mean) };
  return { kind: 'logNormal', mean, deviation, maximum: Math.min(longest, Math.ceil(32 * mean)) };
}

async function measure(
  path: string,
): Promise<Pick<Workload, 'requestsPerSecond' | 'inputTokens' | 'outputTokens' | 'cachedFraction'>> {
  const inputs: number[] = [];
  const outputs: number[] = [];
  const cache = new PrefixCache(Number.POSITIVE_INFINITY);
  let tokens = 0;
  let hits = 0;
  let lastUs = 0;
  for (const { arrivalUs, inputTokens, outputTokens, blocks } of await readTraceFile(path)) {
    if (inputs.length === mostSamples)
      throw badInput(`expected at most ${mostSamples} requests in ${path}`, path, 'pass a part of the trace');
    inputs.push(Math.max(1, Math.min(longest, inputTokens)));
    outputs.push(Math.max(1, Math.min(longest, outputTokens)));
    tokens += inputTokens;
    hits += Math.min(inputTokens, MOONCAKE_BLOCK_TOKENS * cache.take(blocks));
    lastUs = arrivalUs;
  }
  if (inputs.length < 2)
    throw badInput(
      `expected at least 2 requests in ${path}, got ${inputs.length}`,
      path,
      'pass a longer trace',
    );
  return {
    requestsPerSecond: (inputs.length - 1) / Math.max(1e-6, lastUs / 1e6),
    inputTokens: { kind: 'empirical', tokens: inputs },
    outputTokens: { kind: 'empirical', tokens: outputs },
    cachedFraction: hits / tokens,
  };
}

/** The requests of a trace: lines of JSON as Mooncake publishes them, or CSV as Azure does. */
export async function readTraceFile(path: string): Promise<Iterable<SimulatedRequest>> {
  return readTrace(linesOf(await readText(path, 'the trace')), { sort: true });
}
