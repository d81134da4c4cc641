import { needInteger } from '../scores/checks.js';
import type { Orientation } from '../scores/detectors.js';
import { type DelongResult, delong, type Interval } from './delong.js';
import { splitByLabel } from './labelled-scores.js';
import { precisionRecallAreas } from './precision-recall.js';
import { wilsonInterval } from './proportions.js';
import { tprAtFpr } from './roc.js';

/** A scored text with what a figure should be broken down by. */
export interface ScoredText {
  readonly score: number;
  readonly isAi: boolean;
  /** Length in tokens (or words, if used throughout). */
  readonly length?: number;
  readonly domain?: string;
  /** Which program wrote it; human texts need none and take part in every generator's stratum. */
  readonly generator?: string;
}

/** Figures of one stratum; undefined where it has too few texts to say anything. */
export interface Stratum {
  readonly name: string;
  readonly humans: number;
  readonly ais: number;
  readonly auc: DelongResult | undefined;
  readonly prAuc: number | undefined;
  /** TPR at the false-positive rate asked for, by a step of the curve, with Wilson's interval. */
  readonly tpr: { readonly value: number; readonly interval: Interval } | undefined;
}

/** Options of {@link evaluateStrata}. */
export interface StrataOptions {
  /** Default `high`. */
  readonly orientation?: Orientation;
  /** Upper ends of the length bins, ascending; a last bin holds what is longer. Default 25, 50, 100, 150, 200, 300, 512. */
  readonly lengthBins?: readonly number[];
  /** False-positive rate of {@link Stratum.tpr}. Default 0.05. */
  readonly fpr?: number;
}

/** A breakdown: a detector that is good on average may be at chance for short texts, one domain or one generator. */
export interface StrataReport {
  readonly all: Stratum;
  readonly byLength: readonly Stratum[];
  readonly byDomain: readonly Stratum[];
  readonly byGenerator: readonly Stratum[];
}

const LENGTH_BINS = [25, 50, 100, 150, 200, 300, 512];

/** Evaluates scored texts as a whole and by length, domain and generator. */
export function evaluateStrata(texts: readonly ScoredText[], options: StrataOptions = {}): StrataReport {
  const ends = options.lengthBins ?? LENGTH_BINS;
  ends.forEach((end, i) => {
    needInteger(`lengthBins[${i}]`, end, i === 0 ? 1 : ends[i - 1]! + 1);
  });
  const stratum = (name: string, chosen: readonly ScoredText[]): Stratum => stratumOf(name, chosen, options);
  const byLength = [...ends, Infinity].map((end, i) => {
    const start = i === 0 ? 0 : ends[i - 1]! + 1;
    const name = end === Infinity ? `${start}+` : `${start}-${end}`;
    return stratum(
      name,
      texts.filter(({ length }) => length !== undefined && length >= start && length <= end),
    );
  });
  const domains = distinct(texts.map(({ domain }) => domain));
  const generators = distinct(texts.filter(({ isAi }) => isAi).map(({ generator }) => generator));
  return {
    all: stratum('all', texts),
    byLength: byLength.filter(({ humans, ais }) => humans + ais > 0),
    byDomain: domains.map((domain) =>
      stratum(
        domain,
        texts.filter((text) => text.domain === domain),
      ),
    ),
    byGenerator: generators.map((generator) =>
      stratum(
        generator,
        texts.filter((text) => !text.isAi || text.generator === generator),
      ),
    ),
  };
}

function stratumOf(name: string, texts: readonly ScoredText[], options: StrataOptions): Stratum {
  const { orientation, fpr = 0.05 } = options;
  const { human, ai } = splitByLabel(
    texts.map(({ score }) => score),
    texts.map(({ isAi }) => (isAi ? 1 : 0)),
    orientation,
  );
  const enough = human.length >= 2 && ai.length >= 2;
  let tpr: Stratum['tpr'];
  if (enough && human.length * fpr >= 1) {
    const value = tprAtFpr(human, ai, fpr).step;
    tpr = { value, interval: wilsonInterval(Math.round(value * ai.length), ai.length) };
  }
  return {
    name,
    humans: human.length,
    ais: ai.length,
    auc: enough ? delong(human, ai) : undefined,
    prAuc: enough ? precisionRecallAreas(human, ai).trapezoid : undefined,
    tpr,
  };
}

function distinct(values: readonly (string | undefined)[]): string[] {
  return [...new Set(values.filter((value) => value !== undefined))].sort();
}
