import { escapeHtml, htmlPage } from '@moestack/schemas/html';
import { compareRuns, lastLoss, type RunComparison, recipeName } from './compare-runs.js';
import { type ChartSeries, lineChart } from './line-chart.js';
import { pageStyle } from './page-style.js';
import type { Run, StepEvent } from './run-log.js';

/** Options of {@link trainingPage}. */
export interface TrainingPageOptions {
  /** Default: the name of the run, or how many there are. */
  readonly title?: string;
  /** Recipe that others are compared with; default `bf16`. */
  readonly baseline?: string;
  /** Part of the steps, from the end, that the comparison takes; default 0.2. */
  readonly lastFraction?: number;
}

/** Colour and dash of a run: a recipe has one colour, its seeds have dashes. */
interface RunStyle {
  readonly run: Run;
  readonly color: number;
  readonly dash: number;
}

/**
 * A page without scripts that shows runs over each other: loss, gradient norm, learning rate, load balance, speed; where
 * there is a baseline, the loss error of the others against it.
 */
export function trainingPage(runs: readonly Run[], options: TrainingPageOptions = {}): string {
  const title = options.title ?? (runs.length === 1 ? runs[0]!.config.name : `${runs.length} training runs`);
  const styles = stylesOf(runs);
  const comparison = compareRuns(runs, options);
  const body = `<h1>${escapeHtml(title)}</h1>
<p class="quiet">Losses and norms are means over at most 1 % of a run's steps. MaxVio is (largest load - mean load) / mean load of the
experts of a layer within one step: 0 is even.</p>
${runs.length > 1 ? legend(styles) : ''}
${comparison.recipes.length > 0 ? comparisonSection(comparison) : ''}
<h2>Training</h2>
<div class="plots">
${charts(styles).join('\n')}
</div>
<h2>Runs</h2>
${runTable(runs, options.lastFraction ?? 0.2)}`;
  return htmlPage({ title, style: pageStyle, body });
}

function stylesOf(runs: readonly Run[]): RunStyle[] {
  const recipes = [...new Set(runs.map(({ config }) => recipeName(config.recipe)))];
  const seen = new Map<string, number>();
  return runs.map((run) => {
    const recipe = recipeName(run.config.recipe);
    const dash = seen.get(recipe) ?? 0;
    seen.set(recipe, dash + 1);
    // Runs of one recipe, such as sizes of a model, are told apart by colour.
    return recipes.length === 1
      ? { run, color: dash, dash: 0 }
      : { run, color: recipes.indexOf(recipe), dash };
  });
}

function charts(styles: readonly RunStyle[]): string[] {
  const chart = (
    title: string,
    value: (step: StepEvent) => number,
    more: { smooth?: boolean; fromZero?: boolean; mark?: { y: number; label: string } } = {},
  ): string => {
    const { smooth = true, ...rest } = more;
    const series = styles.map(({ run, color, dash }) => ({
      name: run.config.name,
      color,
      dash,
      points: pointsOf(run, value, smooth),
    }));
    return lineChart({ title, x: 'tokens', series, ...rest });
  };
  return [
    chart('Loss (nats per token)', ({ loss }) => loss),
    chart('Gradient norm, before clipping', ({ gradientNorm }) => gradientNorm, { fromZero: true }),
    ...balanceCharts(styles),
    chart('Learning rate', ({ learningRate }) => learningRate, { smooth: false, fromZero: true }),
    chart('Bias update speed (gamma)', ({ gamma }) => gamma, { smooth: false, fromZero: true }),
    chart('Tokens per second', ({ tokensPerSecond }) => tokensPerSecond, { fromZero: true }),
  ];
}

/** One run: its layers in one plot. Several: a plot for each layer. */
function balanceCharts(styles: readonly RunStyle[]): string[] {
  const mark = { y: 0.5, label: '0.5' };
  const layersOf = ({ log, config }: Run) =>
    Array.from({ length: log.steps.at(-1)?.maxVio.length ?? 0 }, (_, i) => i + config.model.denseLayers);
  const points = (run: Run, layer: number) =>
    pointsOf(run, ({ maxVio }) => maxVio[layer - run.config.model.denseLayers] ?? Number.NaN, true);
  if (styles.length === 1) {
    const { run } = styles[0]!;
    const layers = layersOf(run);
    const series = layers.map(
      (layer, color): ChartSeries => ({ name: `layer ${layer}`, color, points: points(run, layer) }),
    );
    const names = series.map(({ name, color }) => legendItem(name, color, 0)).join('');
    return [
      lineChart({ title: 'MaxVio per layer', x: 'tokens', series, mark, fromZero: true }).replace(
        '</figure>',
        `<ul class="legend">${names}</ul></figure>`,
      ),
    ];
  }
  const layers = [...new Set(styles.flatMap(({ run }) => layersOf(run)))].sort((a, b) => a - b);
  return layers.map((layer) => {
    const series = styles.map(({ run, color, dash }) => ({
      name: run.config.name,
      color,
      dash,
      points: points(run, layer),
    }));
    return lineChart({ title: `MaxVio, layer ${layer}`, x: 'tokens', series, mark, fromZero: true });
  });
}

/** Points against tokens; smoothed ones are means of the steps up to there, over a hundredth of the run. */
function pointsOf(
  { log }: Run,
  value: (step: StepEvent) => number,
  smooth: boolean,
): (readonly [number, number])[] {
  const window = smooth ? Math.max(1, Math.round(log.steps.length / 100)) : 1;
  const values = log.steps.map(value);
  return log.steps.map(({ tokens }, index) => {
    const part = values.slice(Math.max(0, index + 1 - window), index + 1);
    return [tokens, part.reduce((sum, each) => sum + each, 0) / part.length] as const;
  });
}

function comparisonSection(comparison: RunComparison): string {
  const { baseline, lastFraction, baselineSeeds, baselineRange, baselineDeviation, recipes } = comparison;
  const spread =
    baselineRange === undefined || baselineDeviation === undefined
      ? `With ${baselineSeeds} seed of ${baseline} there is no spread to compare with.`
      : `Between its ${baselineSeeds} seeds ${baseline} itself spreads by ${percent(baselineRange)} (largest minus smallest), ${percent(baselineDeviation)} (standard deviation).`;
  const rows = recipes.flatMap(({ recipe, seeds, meanRelativeError, meanAbsoluteError }) => [
    ...seeds.map(({ weightsSeed, dataSeed, steps, loss, baselineLoss, relativeError }) => [
      recipe,
      `${weightsSeed} / ${dataSeed}`,
      String(steps),
      loss.toFixed(4),
      baselineLoss.toFixed(4),
      percent(relativeError),
      '',
    ]),
    [recipe, 'mean', '', '', '', percent(meanRelativeError), percent(meanAbsoluteError)],
  ]);
  const header = [
    'recipe',
    'seeds',
    'steps',
    'loss',
    `loss of ${baseline}`,
    'relative error',
    'mean magnitude',
  ];
  const verdicts = recipes.map(({ recipe, meanAbsoluteError }) => {
    const small = meanAbsoluteError < 0.0025 ? 'below 0.25 %' : 'not below 0.25 %';
    const within =
      baselineRange === undefined
        ? ''
        : meanAbsoluteError < baselineRange
          ? ', below the spread'
          : ', not below the spread';
    return `${recipe}: ${percent(meanAbsoluteError)}, ${small}${within}`;
  });
  return `<h2>Loss against ${escapeHtml(baseline)}</h2>
<p>Means over the last ${Math.round(100 * lastFraction)} % of the steps, same seeds, same data order. ${escapeHtml(spread)}</p>
<p>${escapeHtml(verdicts.join('; '))}.</p>
${table(header, rows)}`;
}

function runTable(runs: readonly Run[], lastFraction: number): string {
  const header = [
    'run',
    'recipe',
    'seeds',
    'parameters',
    'steps',
    'tokens',
    `loss, last ${Math.round(100 * lastFraction)} %`,
    'MaxVio per layer at the end',
    'tokens/s',
    'state',
  ];
  const rows = runs.map((run) => {
    const { config, log } = run;
    const last = log.steps.at(-1);
    const seconds = log.steps.reduce((sum, step) => sum + step.seconds, 0);
    const perStep = last === undefined ? 0 : last.tokens / last.step;
    return [
      config.name,
      recipeName(config.recipe),
      `${config.seeds.weights} / ${config.seeds.data}`,
      log.start === undefined ? '' : log.start.parameters.toLocaleString('en'),
      `${last?.step ?? 0} of ${config.steps}`,
      (last?.tokens ?? 0).toLocaleString('en'),
      last === undefined ? '' : lastLoss(run, lastFraction).toFixed(4),
      last?.maxVio.map((value) => value.toFixed(2)).join(' ') ?? '',
      seconds > 0 ? ((log.steps.length * perStep) / seconds).toFixed(0) : '',
      log.end?.reason ?? 'unfinished',
    ];
  });
  return table(header, rows);
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = (row: readonly string[], tag: string) =>
    `<tr>${row.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`;
  return `<div class="scroll"><table><thead>${cells(header, 'th')}</thead><tbody>${rows.map((row) => cells(row, 'td')).join('')}</tbody></table></div>`;
}

function legend(styles: readonly RunStyle[]): string {
  const items = styles.map(({ run, color, dash }) => legendItem(run.config.name, color, dash));
  return `<ul class="legend">${items.join('')}</ul>`;
}

function legendItem(name: string, color: number, dash: number): string {
  return `<li><svg viewBox="0 0 26 8" aria-hidden="true"><path class="line c${color % 8} d${dash % 4}" d="M0 4h26"/></svg>${escapeHtml(name)}</li>`;
}

function percent(value: number): string {
  return `${(100 * value).toFixed(3)} %`;
}
