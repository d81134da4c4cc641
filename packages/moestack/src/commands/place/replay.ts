import { setImmediate as nextTurn } from 'node:timers/promises';
import { type LoadTrace, type ReplayResult, replay } from '@moestack/placement';
import { AbortedError } from '@moestack/schemas';
import { CliError } from '../../errors.js';
import { ProgressDisplay } from '../../progress-display.js';
import type { Reporter } from '../../reporter.js';
import { textTable } from '../../text-table.js';
import { type DeploymentOptions, deploymentOf } from './deployment.js';
import { readTrace, type TraceOptions } from './trace-input.js';

/** Options of `moestack place replay`. */
export interface ReplayCommandOptions extends DeploymentOptions, TraceOptions {
  readonly policies: readonly ('none' | 'eplb' | 'incremental')[];
  readonly every?: number;
  readonly modelLayers?: number;
}

/** Weights of an expert of DeepSeek-V3 in FP8 with its scales. */
const EXPERT_BYTES = 44_050_944;

/** Runs policies over recorded load, minute by minute. */
export async function replayTrace(
  files: readonly string[],
  options: ReplayCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const { every, localityBudget, expertBytes = EXPERT_BYTES } = options;
  const policies = [...new Set(options.policies)];
  const trace = await readTrace(files, options);
  if (trace.minutes <= 10) {
    throw new CliError({
      code: 'cli/bad-input',
      message: `expected more than 10 minutes, since scoring begins at minute 10, got ${trace.minutes}`,
      value: trace.minutes,
      remedy: 'record for longer, or take fewer passes for a minute',
    });
  }
  const deployment = {
    ...deploymentOf(options, trace.experts),
    expertBytes,
    modelLayers: options.modelLayers ?? trace.layers,
  };
  const progress = new ProgressDisplay(reporter, {
    label: 'replaying',
    total: (total) => `${total} policies`,
    lines: policies.length,
  });
  const results: { policy: string; result: ReplayResult }[] = [];
  try {
    for (const [done, policy] of policies.entries()) {
      await nextTurn();
      if (signal.aborted) throw new AbortedError('replaying', signal.reason);
      const result = replay(trace, deployment, {
        policy,
        ...(every === undefined ? {} : { everyMinutes: every }),
        ...(localityBudget === undefined ? {} : { localityBudget }),
      });
      results.push({ policy, result });
      progress.update(done + 1, policies.length);
    }
  } finally {
    progress.stop();
  }
  report(trace, results, reporter);
}

function report(
  trace: LoadTrace,
  results: readonly { policy: string; result: ReplayResult }[],
  reporter: Reporter,
): void {
  const { minutes, layers, experts } = trace;
  const event = {
    event: 'replayed',
    minutes,
    layers,
    experts,
    policies: Object.fromEntries(results.map(({ policy, result }) => [policy, result])),
  };
  const rows = results.map(({ policy, result }) => [
    policy,
    result.score.toFixed(4),
    result.efficiency.toFixed(4),
    `${(100 * result.migrated).toFixed(1)}%`,
    `${(1000 * result.largestStallSeconds).toFixed(1)} ms`,
  ]);
  reporter.result(event, [
    `${minutes} minutes, ${layers} layers, ${experts} experts`,
    '',
    ...textTable(['<policy', 'score', 'efficiency', 'moved in 10 min', 'longest stall'], rows),
    '',
    'efficiency: mean over highest GPU load; score: efficiency less 0.02 x moved',
  ]);
}
