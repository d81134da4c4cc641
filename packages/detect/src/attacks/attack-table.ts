import { type DelongResult, delong, type Interval } from '../evaluation/delong.js';
import { splitByLabel } from '../evaluation/labelled-scores.js';
import { wilsonInterval } from '../evaluation/proportions.js';
import { thresholdForFpr } from '../evaluation/thresholds.js';
import type { Orientation } from '../scores/detectors.js';
import type { Attack } from './attack.js';

/** Options of {@link attackTable}. */
export interface AttackTableOptions {
  readonly attacks: readonly Attack[];
  /** Default `high`. */
  readonly orientation?: Orientation;
  /** False-positive rate that fixes the threshold, on unattacked texts. Default 0.05. */
  readonly fpr?: number;
  /** A seeded generator for each attack, so that attacks do not depend on one another. */
  readonly random: (attack: string) => () => number;
  readonly signal?: AbortSignal;
  /** Called after texts were attacked. */
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

/** One line of an attack table. */
export interface AttackRow {
  /** `none` for the unattacked texts. */
  readonly attack: string;
  readonly auc: DelongResult;
  /** Share of AI texts still found at the threshold that the unattacked texts fixed. */
  readonly tpr: { readonly value: number; readonly interval: Interval };
  /** Mean AI score minus the unattacked mean, in the detector's own direction. */
  readonly shift: number;
}

/**
 * How a detector holds against attacks: AI texts are attacked, human ones stay as they are, and so does the threshold.
 *
 * @param score - the detector; called once per human text and once per AI text and attack
 * @throws DetectError `detect/too-short` with fewer human texts than the rate needs
 */
export async function attackTable(
  texts: { readonly human: readonly string[]; readonly ai: readonly string[] },
  score: (text: string) => number | Promise<number>,
  options: AttackTableOptions,
): Promise<AttackRow[]> {
  const { attacks, orientation, fpr = 0.05, signal, onProgress } = options;
  const total = texts.human.length + texts.ai.length * (attacks.length + 1);
  let done = 0;
  const scoreAll = async (list: readonly string[], attack?: Attack): Promise<number[]> => {
    const random = options.random(attack?.name ?? 'none');
    const scores: number[] = [];
    for (const text of list) {
      signal?.throwIfAborted();
      const changed =
        attack === undefined
          ? text
          : await attack.apply(text, { random, ...(signal !== undefined && { signal }) });
      scores.push(await score(changed));
      onProgress?.({ done: ++done, total });
    }
    return scores;
  };
  const human = await scoreAll(texts.human);
  const plain = await scoreAll(texts.ai);
  const oriented = (ai: number[]): { human: Float64Array; ai: Float64Array } =>
    splitByLabel([...human, ...ai], [...human.map(() => 0), ...ai.map(() => 1)], orientation);
  const base = oriented(plain);
  const threshold = thresholdForFpr(base.human, base.ai, fpr)?.threshold ?? Infinity;
  const baseMean = base.ai.reduce((sum, value) => sum + value, 0) / base.ai.length;
  const rowOf = (attack: string, scores: number[]): AttackRow => {
    const { ai } = oriented(scores);
    const found = ai.filter((value) => value >= threshold).length;
    const mean = ai.reduce((sum, value) => sum + value, 0) / ai.length;
    return {
      attack,
      auc: delong(base.human, ai),
      tpr: { value: found / ai.length, interval: wilsonInterval(found, ai.length) },
      shift: mean === baseMean ? 0 : mean - baseMean,
    };
  };
  const rows = [rowOf('none', plain)];
  for (const attack of attacks) rows.push(rowOf(attack.name, await scoreAll(texts.ai, attack)));
  return rows;
}
