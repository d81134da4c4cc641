import { basename } from 'node:path';
import type { Policy } from '@moestack/placement';
import type { PlanFormat } from '@moestack/placement/interop';
import { heatmapLines, type NamedEvaluation, placementHtml } from '@moestack/placement/report';
import type { Reporter } from '../../reporter.js';
import { textTable } from '../../text-table.js';
import { checkOutput, writeOutput } from '../fp8/output-file.js';
import { describePlans, makePlans, type PlanningOptions } from './make-plans.js';
import { figures, header, row, writePlan } from './plan-output.js';

/** Options of `moestack place plan`. */
export interface PlanCommandOptions extends PlanningOptions {
  readonly policy?: Policy;
  readonly out?: string;
  readonly format?: PlanFormat;
  readonly heatmap: 'before' | 'after' | 'both' | 'none';
}

/** Plans from recorded load, and writes the plan in the format of an engine. */
export async function plan(
  files: readonly string[],
  options: PlanCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const { policy = 'optimal', out, format = 'moestack', html, heatmap } = options;
  await checkOutput(out);
  await checkOutput(html);
  const made = await makePlans(files, { ...options, policies: [policy] }, reporter, signal);
  const { input, before } = made;
  const after = made.plans[0]!;
  if (out !== undefined) {
    const modelLayers = options.modelLayers ?? input.recordedLayers;
    await writePlan(after.evaluation.plan, { path: out, format, layerIds: input.layerIds, modelLayers });
  }
  if (html !== undefined) {
    await writeOutput(
      html,
      placementHtml({ title: basename(files[0]!), before, after, layerIds: input.layerIds }),
    );
  }
  const { columns: width = 110 } = reporter.streams.stdout as { columns?: number };
  // Beside the marks there are the layer, and highest / mean.
  const columns = Math.max(16, width - 14);
  const map = (name: string, { evaluation }: NamedEvaluation) => {
    const { loads, plan } = evaluation;
    return ['', name, ...heatmapLines(loads, plan.deployment.gpus, { layerIds: input.layerIds, columns })];
  };
  const event = {
    event: 'planned',
    policy,
    source: input.source,
    deployment: made.deployment,
    layers: input.layerIds,
    before: figures(before.evaluation),
    after: figures(after.evaluation),
    ...(out === undefined ? {} : { out, format }),
  };
  reporter.result(event, [
    describePlans(made),
    '',
    ...textTable(header, [row(before.name, before.evaluation), row(policy, after.evaluation)]),
    ...(heatmap === 'before' || heatmap === 'both' ? map(before.name, before) : []),
    ...(heatmap === 'after' || heatmap === 'both' ? map(policy, after) : []),
  ]);
  for (const file of [out, html]) {
    if (file !== undefined) reporter.note({ event: 'written', file }, `written: ${file}`);
  }
}
