import { chmod } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Load } from '@moestack/placement';
import { readEnginePaths } from '@moestack/placement/interop/node';
import {
  type EngineName,
  emitDeployment,
  PlanRequest,
  type PlanResult,
  plan,
  planHtml,
  type SimulatedCandidate,
  whatIf,
} from '@moestack/simulator';
import { ProgressDisplay } from '../../progress-display.js';
import type { Reporter } from '../../reporter.js';
import { textTable } from '../../text-table.js';
import { checkOutput, makeOutputFolder, writeOutput } from '../fp8/output-file.js';
import { countsOf } from '../place/load-input.js';
import { type HardwareOptions, readAccelerator, readModel } from './hardware.js';
import { badInput, readFileOf } from './read-file.js';
import { readWorkload, type TrafficOptions } from './traffic-options.js';

/** Options of `moestack plan`. */
export interface PlanCommandOptions extends HardwareOptions, TrafficOptions {
  readonly request?: string;
  readonly gpus?: number;
  readonly ttft: number;
  readonly tpot: number;
  readonly quantile: number;
  readonly weights: 'bf16' | 'fp8' | 'fp4';
  readonly kv: 'bf16' | 'fp8';
  readonly mtp?: number;
  readonly skew: number;
  readonly keep: number;
  readonly simulate: number;
  readonly seed: number;
  readonly html?: string;
  readonly out?: string;
  readonly emit?: string;
  readonly engine: EngineName;
  readonly modelPath?: string;
  readonly servedName?: string;
  readonly image?: string;
  readonly load?: string[];
}

/** Plans a deployment, reports it and writes what starts it. */
export async function planCommand(
  options: PlanCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  await checkOutput(options.html);
  await checkOutput(options.out);
  if (options.emit !== undefined) await makeOutputFolder(options.emit);
  const request = await readRequest(options);
  const load = options.load === undefined ? undefined : await readLoad(options.load);
  const progress = new ProgressDisplay(reporter, {
    label: 'planning',
    total: (total) => `${total} layouts`,
    lines: 4,
  });
  const simulating = new ProgressDisplay(reporter, {
    label: 'simulating',
    total: (total) => `${total} candidates`,
    lines: 4,
  });
  let result: PlanResult;
  try {
    result = await plan({
      ...request,
      keep: options.keep,
      simulate: options.simulate,
      seed: options.seed,
      signal,
      onProgress: ({ stage, done, total }) => {
        if (stage === 'layouts') progress.update(done, total);
        if (stage === 'simulation') {
          progress.stop();
          simulating.update(done, total);
        }
      },
    });
  } finally {
    progress.stop();
    simulating.stop();
  }
  const written: string[] = [];
  const best = result.candidates[0]!;
  const { accelerator, model } = result.request;
  const { deployment } = best;
  const hardware = whatIf({ accelerator, model, deployment });
  if (options.html !== undefined) {
    await writeOutput(options.html, planHtml(result, { whatIf: hardware }));
    written.push(options.html);
  }
  if (options.out !== undefined) {
    await writeOutput(
      options.out,
      `${JSON.stringify({ ...deployment, plannedFor: { accelerator, model } }, null, 2)}\n`,
    );
    written.push(options.out);
  }
  if (options.emit !== undefined) written.push(...(await emit(options.emit, result, options, load)));
  reporter.result({ event: 'planned', ...result, whatIf: hardware }, describe(result));
  for (const file of written) reporter.note({ event: 'written', file }, `written: ${file}`);
}

async function readRequest(options: PlanCommandOptions): Promise<PlanRequest> {
  if (options.request !== undefined) return readFileOf(PlanRequest, options.request, { what: 'request' });
  if (options.gpus === undefined)
    throw badInput(
      'expected --gpus or --request',
      undefined,
      'say how many GPUs may be used, or pass a request as JSON',
    );
  const { ttft, tpot, quantile, weights, kv, mtp, skew, rate, trace, users } = options;
  const demand = rate !== undefined || trace !== undefined || users !== undefined;
  return {
    accelerator: await readAccelerator(options),
    model: await readModel(options),
    workload: await readWorkload(options),
    slo: { ttftSeconds: ttft, tpotSeconds: tpot, quantile },
    gpus: options.gpus,
    goal: demand ? 'demand' : 'cluster',
    precision: { weights, attention: kv, dispatch: weights === 'bf16' ? 'bf16' : 'fp8' },
    mtp: { enabled: mtp !== undefined, draftTokens: 1, acceptance: mtp ?? 0.85 },
    skew: skew === 0 ? { kind: 'balanced' } : { kind: 'powerLaw', alpha: skew },
    blockSizeTokens: 64,
  };
}

/** Recorded load of all layers of the model, dense ones too. */
async function readLoad(files: readonly string[]): Promise<Load> {
  const counts = countsOf(await readEnginePaths(files));
  if (counts === undefined)
    throw badInput(
      `expected recorded load in ${files[0]}, got an expert map`,
      files[0],
      'pass a recorder dump or counts',
    );
  return counts.load;
}

async function emit(
  folder: string,
  result: PlanResult,
  options: PlanCommandOptions,
  load: Load | undefined,
): Promise<string[]> {
  const { accelerator, model, slo } = result.request;
  const { engine, modelPath, servedName, image } = options;
  const files = emitDeployment({
    deployment: result.candidates[0]!.deployment,
    accelerator,
    model,
    engine,
    slo,
    ...(modelPath === undefined ? {} : { modelPath }),
    ...(servedName === undefined ? {} : { servedModelName: servedName }),
    ...(image === undefined ? {} : { image }),
    ...(load === undefined ? {} : { load }),
  });
  const paths: string[] = [];
  for (const { path, text, executable } of files) {
    const target = join(folder, path);
    await makeOutputFolder(dirname(target));
    await writeOutput(target, text);
    if (executable) await chmod(target, 0o755);
    paths.push(target);
  }
  return paths;
}

function describe(result: PlanResult): string[] {
  const { request, candidates, searched } = result;
  const best = candidates[0]!;
  const { accelerator, model } = request;
  const lines = [
    `${model.name} on ${best.gpus} of ${request.gpus} ${accelerator.name}s: ${figure(best.plannedRequestsPerSecond)} requests/s` +
      ` (at most ${figure(best.requestsPerSecond)}), ${Math.round(best.usdPerHour)} USD/h, ${figure(best.usdPerMillionOutputTokens)} USD a million generated tokens`,
    '',
  ];
  for (const { role, pool, gpus, memory, stepSeconds, binding } of best.pools) {
    const limit =
      role === 'prefill' ? `${pool.maxTokensPerRank} tokens` : `${pool.maxSequencesPerRank} sequences`;
    lines.push(
      `${role.padEnd(8)}${pool.units} x ${layout(pool)} = ${gpus} GPUs; ${memory.weights.slots} experts a GPU, ${limit} a rank, ${time(stepSeconds)} a step`,
      `        binds: ${binding.text}`,
    );
  }
  lines.push(
    '',
    ...textTable(
      ['<deployment', 'GPUs', 'requests/s', 'TTFT', 'TPOT', 'USD/M out', '<simulated'],
      candidates.map(row),
    ),
  );
  const { layouts, combinations, tooLarge } = searched;
  lines.push(
    '',
    `searched ${layouts} layouts, ${combinations} combinations; ${tooLarge} options did not fit the memory`,
  );
  return lines;
}

function row(candidate: SimulatedCandidate): string[] {
  const {
    pools,
    gpus,
    plannedRequestsPerSecond,
    ttftSeconds,
    tpotSeconds,
    usdPerMillionOutputTokens,
    simulated,
  } = candidate;
  const seen =
    simulated === null
      ? ''
      : `${Math.round(100 * simulated.goodputShare)}% in time, TTFT ${time(simulated.ttftSeconds.p90)}, TPOT ${time(simulated.tpotSeconds.p90)}${simulated.keepsSlo ? '' : ': breaks the SLO'}`;
  return [
    pools.map(({ role, pool }) => `${role} ${pool.units} x ${layout(pool)}`).join(', '),
    String(gpus),
    figure(plannedRequestsPerSecond),
    time(ttftSeconds),
    time(tpotSeconds),
    figure(usdPerMillionOutputTokens),
    seen,
  ];
}

function layout({ tp, dp, ep }: { tp: number; dp: number; ep: number }): string {
  return `TP${tp} DP${dp} EP${ep}`;
}

/** A number of three digits. */
export function figure(value: number): string {
  return Math.abs(value) >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

/** Seconds in the unit that fits. */
export function time(seconds: number): string {
  return seconds >= 1 ? `${figure(seconds)} s` : `${figure(1000 * seconds)} ms`;
}
