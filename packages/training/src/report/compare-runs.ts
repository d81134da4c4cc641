import type { TrainRecipe } from '@moestack/schemas';
import type { Run } from './run-log.js';

/** How one run ends against the baseline of the same seeds. */
export interface SeedComparison {
  readonly weightsSeed: number;
  readonly dataSeed: number;
  /** Steps that both have, within the last part. */
  readonly steps: number;
  readonly loss: number;
  readonly baselineLoss: number;
  /** (loss - baselineLoss) / baselineLoss of the means over those steps. */
  readonly relativeError: number;
}

/** One recipe against the baseline. */
export interface RecipeComparison {
  readonly recipe: string;
  readonly seeds: readonly SeedComparison[];
  /** Mean over seeds, with sign. */
  readonly meanRelativeError: number;
  /** Mean over seeds of the magnitude. */
  readonly meanAbsoluteError: number;
}

/** What the experiment shows. */
export interface RunComparison {
  readonly baseline: string;
  /** Part of the steps that counts, from the end. */
  readonly lastFraction: number;
  /** Runs of the baseline. */
  readonly baselineSeeds: number;
  /** (largest - smallest) / mean of the baseline's losses over seeds; undefined with one seed. */
  readonly baselineRange: number | undefined;
  /** Sample standard deviation / mean of the same. */
  readonly baselineDeviation: number | undefined;
  readonly recipes: readonly RecipeComparison[];
}

/** Name of a recipe with what differs from its plain form: `deepseek-v3, hopper, never promoted`. */
export function recipeName({ name, accumulate, promoteEvery, gradientBlocks }: TrainRecipe): string {
  const parts: string[] = [name];
  if (accumulate !== 'f32') parts.push(accumulate);
  if (promoteEvery !== undefined)
    parts.push(promoteEvery > 65_536 ? 'never promoted' : `promoted at ${promoteEvery}`);
  if (gradientBlocks) parts.push('gradients in 128x128 blocks');
  return parts.join(', ');
}

/**
 * Relative loss error of each recipe against the runs of `baseline` with the same seeds, over the last part of the steps
 * that both have.
 */
export function compareRuns(
  runs: readonly Run[],
  options: { baseline?: string; lastFraction?: number } = {},
): RunComparison {
  const { baseline = 'bf16', lastFraction = 0.2 } = options;
  const byRecipe = groupRuns(runs);
  const references = byRecipe.get(baseline) ?? [];
  const recipes: RecipeComparison[] = [];
  for (const [recipe, members] of byRecipe) {
    if (recipe === baseline) continue;
    const seeds = members.flatMap((run) => {
      const reference = references.find((candidate) => sameSeeds(candidate, run));
      const compared = reference === undefined ? undefined : compareSeed(run, reference, lastFraction);
      return compared === undefined ? [] : [compared];
    });
    if (seeds.length === 0) continue;
    recipes.push({
      recipe,
      seeds,
      meanRelativeError: mean(seeds.map(({ relativeError }) => relativeError)),
      meanAbsoluteError: mean(seeds.map(({ relativeError }) => Math.abs(relativeError))),
    });
  }
  const losses = references.map((run) => lastLoss(run, lastFraction)).filter(Number.isFinite);
  return { baseline, lastFraction, baselineSeeds: losses.length, ...spread(losses), recipes };
}

function compareSeed(run: Run, reference: Run, lastFraction: number): SeedComparison | undefined {
  const ofReference = new Map(reference.log.steps.map(({ step, loss }) => [step, loss]));
  const shared = run.log.steps.filter(({ step }) => ofReference.has(step));
  const last = shared.at(-1)?.step ?? 0;
  const part = shared.filter(({ step }) => step > last * (1 - lastFraction));
  if (part.length === 0) return undefined;
  const loss = mean(part.map((step) => step.loss));
  const baselineLoss = mean(part.map(({ step }) => ofReference.get(step)!));
  return {
    weightsSeed: run.config.seeds.weights,
    dataSeed: run.config.seeds.data,
    steps: part.length,
    loss,
    baselineLoss,
    relativeError: (loss - baselineLoss) / baselineLoss,
  };
}

/** Mean loss over the last part of the steps of a run. */
export function lastLoss({ log }: Run, lastFraction: number): number {
  const last = log.steps.at(-1)?.step ?? 0;
  return mean(log.steps.filter(({ step }) => step > last * (1 - lastFraction)).map(({ loss }) => loss));
}

function spread(losses: readonly number[]): Pick<RunComparison, 'baselineRange' | 'baselineDeviation'> {
  if (losses.length < 2) return { baselineRange: undefined, baselineDeviation: undefined };
  const centre = mean(losses);
  const squares = losses.reduce((sum, loss) => sum + (loss - centre) ** 2, 0);
  return {
    baselineRange: (Math.max(...losses) - Math.min(...losses)) / centre,
    baselineDeviation: Math.sqrt(squares / (losses.length - 1)) / centre,
  };
}

function sameSeeds(a: Run, b: Run): boolean {
  return a.config.seeds.weights === b.config.seeds.weights && a.config.seeds.data === b.config.seeds.data;
}

function nameOf({ config }: Run): string {
  return recipeName(config.recipe);
}

function groupRuns(runs: readonly Run[]): Map<string, Run[]> {
  const groups = new Map<string, Run[]>();
  for (const run of runs) groups.set(nameOf(run), [...(groups.get(nameOf(run)) ?? []), run]);
  return groups;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
