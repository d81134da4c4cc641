import { compareRuns, type RunComparison, trainingPage } from '@moestack/training';
import type { Reporter } from '../../reporter.js';
import { textTable } from '../../text-table.js';
import { checkOutput, writeOutput } from '../fp8/output-file.js';
import { findRuns } from './run-directory.js';

/** Options of `moestack train plot`. */
export interface PlotCommandOptions {
  readonly out: string;
  readonly title?: string;
  readonly baseline: string;
  readonly last: number;
}

/** Draws the logs of runs, and compares them. */
export async function plot(
  paths: readonly string[],
  { out, title, baseline, last }: PlotCommandOptions,
  reporter: Reporter,
): Promise<void> {
  await checkOutput(out);
  const runs = await findRuns(paths);
  const options = { baseline, lastFraction: last, ...(title !== undefined && { title }) };
  await writeOutput(out, trainingPage(runs, options));
  const comparison = compareRuns(runs, options);
  const names = runs.map(({ config }) => config.name);
  reporter.result({ event: 'plotted', file: out, runs: names, comparison }, [
    ...comparisonLines(comparison),
    `${out}: ${runs.length} ${runs.length === 1 ? 'run' : 'runs'}`,
  ]);
}

/** The comparison as a table, empty where there is nothing to compare. */
function comparisonLines({
  recipes,
  baseline,
  lastFraction,
  baselineRange,
  baselineDeviation,
}: RunComparison): string[] {
  if (recipes.length === 0) return [];
  const rows = recipes.flatMap(({ recipe, seeds, meanRelativeError, meanAbsoluteError }) => [
    ...seeds.map(({ weightsSeed, dataSeed, loss, baselineLoss, relativeError }) => [
      recipe,
      `${weightsSeed}/${dataSeed}`,
      loss.toFixed(4),
      baselineLoss.toFixed(4),
      percent(relativeError),
    ]),
    [recipe, 'mean', '', '', `${percent(meanRelativeError)} (magnitude ${percent(meanAbsoluteError)})`],
  ]);
  const spread =
    baselineRange === undefined
      ? `one seed of ${baseline}: no spread`
      : `spread of ${baseline} between seeds: ${percent(baselineRange)} largest minus smallest, ${percent(baselineDeviation!)} standard deviation`;
  return [
    `last ${Math.round(100 * lastFraction)} % of the steps against ${baseline}:`,
    ...textTable(['<recipe', 'seeds', 'loss', baseline, 'relative error'], rows),
    spread,
  ];
}

function percent(value: number): string {
  return `${(100 * value).toFixed(3)} %`;
}
