import { basename } from 'node:path';
import type { Policy } from '@moestack/placement';
import { placementHtml } from '@moestack/placement/report';
import type { Reporter } from '../../reporter.js';
import { textTable } from '../../text-table.js';
import { checkOutput, writeOutput } from '../fp8/output-file.js';
import { describePlans, makePlans, type PlanningOptions } from './make-plans.js';
import { figures, header, row } from './plan-output.js';

/** Options of `moestack place compare`. */
export interface CompareCommandOptions extends PlanningOptions {
  readonly policies: readonly (Policy | 'none')[];
}

/** Compares policies under recorded load: balance, gap to the bound, traffic between nodes, migration. */
export async function compare(
  files: readonly string[],
  options: CompareCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const { html } = options;
  await checkOutput(html);
  const made = await makePlans(
    files,
    { ...options, policies: [...new Set(options.policies)] },
    reporter,
    signal,
  );
  const { input, before, plans } = made;
  const best = plans.reduce((a, b) => (b.evaluation.report.gap < a.evaluation.report.gap ? b : a));
  if (html !== undefined) {
    const others = plans.filter((candidate) => candidate !== best && candidate.name !== 'none');
    const title = basename(files[0]!);
    await writeOutput(html, placementHtml({ title, before, after: best, others, layerIds: input.layerIds }));
  }
  const event = {
    event: 'compared',
    source: input.source,
    deployment: made.deployment,
    layers: input.layerIds,
    policies: Object.fromEntries(plans.map(({ name, evaluation }) => [name, figures(evaluation)])),
  };
  reporter.result(event, [
    describePlans(made),
    '',
    ...textTable(
      header,
      plans.map(({ name, evaluation }) => row(name, evaluation)),
    ),
    '',
    'highest/mean: highest GPU load over the mean, mean of layers; node copies: expected copies of a token to other nodes',
  ]);
  if (html !== undefined) reporter.note({ event: 'written', file: html }, `written: ${html}`);
}
