import { basename } from 'node:path';
import {
  Deployment,
  type Distribution,
  perfettoTrace,
  publishedDeployment,
  requestsOf,
  type SimulationResult,
  simulate,
  simulationHtml,
} from '@moestack/simulator';
import { ProgressDisplay } from '../../progress-display.js';
import type { Reporter } from '../../reporter.js';
import { textTable } from '../../text-table.js';
import { checkOutput, writeOutput } from '../fp8/output-file.js';
import { type HardwareOptions, readAccelerator, readModel } from '../plan/hardware.js';
import { figure, time } from '../plan/plan.js';
import { badInput, readFileOf } from '../plan/read-file.js';
import { readTraceFile, readWorkload, type TrafficOptions } from '../plan/traffic-options.js';

/** Options of `moestack simulate`. */
export interface SimulateCommandOptions extends HardwareOptions, TrafficOptions {
  readonly requests: number;
  readonly ttft?: number;
  readonly tpot?: number;
  readonly quantile: number;
  readonly cacheBlocks?: number;
  readonly seed: number;
  readonly html?: string;
  readonly timeline?: string;
  readonly timelineSteps: number;
}

const published = ['report', 'profile', 'online'] as const;

/** Runs traffic through a deployment on a virtual clock. */
export async function simulateCommand(
  source: string,
  options: SimulateCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  await checkOutput(options.html);
  await checkOutput(options.timeline);
  const deployment = await readDeployment(source);
  const accelerator = await readAccelerator(options, deployment.plannedFor?.accelerator);
  const model = await readModel(options, deployment.plannedFor?.model);
  const { trace, users, requests, seed, quantile, ttft, tpot, cacheBlocks } = options;
  if ((ttft === undefined) !== (tpot === undefined))
    throw badInput('expected --ttft and --tpot together', ttft ?? tpot, 'pass both, or neither');
  const slo =
    ttft === undefined || tpot === undefined ? undefined : { ttftSeconds: ttft, tpotSeconds: tpot, quantile };
  const traffic =
    trace === undefined
      ? { workload: await readWorkload(options), requestCount: requests }
      : {
          requests: requestsOf(firstOf(await readTraceFile(trace), requests)),
          ...(users === undefined ? {} : { concurrency: users }),
        };
  const progress = new ProgressDisplay(reporter, {
    label: 'simulating',
    total: (total) => `${total} requests`,
    lines: 4,
  });
  let result: SimulationResult;
  try {
    result = await simulate({
      accelerator,
      model,
      deployment,
      ...traffic,
      seed,
      signal,
      ...(slo === undefined ? {} : { slo }),
      ...(cacheBlocks === undefined ? {} : { prefixCacheBlocks: cacheBlocks }),
      timelineSteps: options.timeline === undefined ? 0 : options.timelineSteps,
      onProgress: ({ finished }) => progress.update(Math.min(finished, requests), requests),
    });
  } finally {
    progress.stop();
  }
  const written: string[] = [];
  const title = `${model.name} on ${accelerator.name}s: ${basename(source)}`;
  if (options.html !== undefined) {
    const report = { title, deployment, result, usdPerGpuHour: accelerator.usdPerGpuHour };
    await writeOutput(options.html, simulationHtml(slo === undefined ? report : { ...report, slo }));
    written.push(options.html);
  }
  if (options.timeline !== undefined) {
    await writeOutput(options.timeline, perfettoTrace(result.timeline));
    written.push(options.timeline);
  }
  const { timeline: _steps, ...figures } = result;
  reporter.result({ event: 'simulated', deployment, ...figures }, describe(title, result));
  for (const file of written) reporter.note({ event: 'written', file }, `written: ${file}`);
}

async function readDeployment(source: string): Promise<Deployment> {
  const name = published.find((each) => each === source);
  if (name !== undefined) return publishedDeployment(name);
  return readFileOf(Deployment, source, {
    what: 'deployment',
    otherwise: `, or use one of ${published.join(', ')}; "moestack plan --out" writes such files`,
  });
}

function* firstOf<T>(items: Iterable<T>, count: number): Generator<T> {
  let taken = 0;
  for (const item of items) {
    if (taken++ === count) return;
    yield item;
  }
}

function describe(title: string, result: SimulationResult): string[] {
  const { arrived, finished, refused, durationSeconds, goodput, meetsSlo, prefill, decode } = result;
  const turned = refused.full + refused.tooLong;
  const row = (name: string, { mean, p50, p90, p99, maximum }: Distribution) => [
    name,
    ...[mean, p50, p90, p99, maximum].map(time),
  ];
  return [
    title,
    `${arrived} requests in ${time(durationSeconds)} from the first arrival to the last token, ${finished} finished${turned === 0 ? '' : `, ${turned} refused`}: ` +
      `${figure(result.requestsPerSecond)} requests/s, ${figure(result.outputTokensPerSecond)} generated tokens/s`,
    ...(goodput === null
      ? []
      : [`${Math.round(100 * goodput.share)}% in time: ${meetsSlo === true ? 'keeps' : 'breaks'} the SLO`]),
    '',
    ...textTable(
      ['<', 'mean', 'half', '90%', '99%', 'longest'],
      [
        row('first token', result.ttftSeconds),
        row('between tokens', result.tpotSeconds),
        row('whole request', result.latencySeconds),
      ],
    ),
    '',
    ...textTable(
      [
        '<pool',
        'GPUs',
        'in use',
        'prefill tokens/s/server',
        'decode tokens/s/server',
        'sequences/rank',
        'KV at most',
        'preemptions',
      ],
      (prefill === decode
        ? [['both', decode] as const]
        : [['prefill', prefill] as const, ['decode', decode] as const]
      ).map(([name, pool]) => [
        name,
        String(pool.gpus),
        `${Math.round(100 * pool.utilisation)}%`,
        figure(pool.prefillTokensPerSecondPerNode),
        figure(pool.decodeTokensPerSecondPerNode),
        figure(pool.meanSequencesPerRank),
        `${Math.round(100 * pool.peakKvShare)}%`,
        figure(pool.preemptions),
      ]),
    ),
  ];
}
