import { plainProse } from '../src/embedded-model/plain-prose.js';
import { type ProseModel, type ProseScore, scoreProse } from '../src/embedded-model/prose-model.js';
import { fitProseModel } from './fit-prose-model.js';
import { type FitText, FOLDS, lastWords, wordCount } from './texts.js';

/** Lengths that texts are cut to, beside their own. */
export const CUTS = [20, 30, 40, 50, 60, 80, 100, 125] as const;

/** A score by a model that has seen neither the text, nor its human twin, nor its kind and generator. */
export interface OutOfFold extends ProseScore {
  readonly text: FitText;
  readonly words: number;
  /** The length that it was cut to; 0: not cut. */
  readonly cut: number;
}

/**
 * Scores every text by models fitted on the other folds of the other cells. A cell that is its domain's only one stays in: nothing
 * else would teach the domain.
 *
 * @param prepare - what becomes of a fitted model before it scores, for example quantisation
 */
export function outOfFold(
  texts: readonly FitText[],
  prepare: (model: ProseModel) => ProseModel = (model) => model,
): OutOfFold[] {
  const rows: OutOfFold[] = [];
  const cells = new Set(texts.map(({ cell }) => cell));
  for (const cell of cells) {
    const domain = texts.find((text) => text.cell === cell)!.domain;
    const alone = new Set(texts.filter((text) => text.domain === domain).map((text) => text.cell)).size === 1;
    for (let fold = 0; fold < FOLDS; fold++) {
      const model = prepare(
        fitProseModel(
          texts.filter((text) => text.mayFit && text.fold !== fold && (alone || text.cell !== cell)),
        ),
      );
      for (const text of texts) {
        if (text.cell !== cell || text.fold !== fold) continue;
        const words = wordCount(text.text);
        for (const cut of [0, ...CUTS]) {
          if (cut >= words) continue;
          const piece = cut === 0 ? text.text : lastWords(text.text, cut);
          rows.push({ text, cut, words: cut || words, ...scoreProse(plainProse(piece).text, model) });
        }
      }
    }
  }
  return rows;
}
