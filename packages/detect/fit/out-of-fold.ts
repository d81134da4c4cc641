import { plainProse } from '../src/embedded-model/plain-prose.js';
import { type ProseModel, type ProseScore, scoreProse } from '../src/embedded-model/prose-model.js';
import { fitProseModel } from './fit-prose-model.js';
import { cutWords, type FitText, FOLDS, lastWords, wordCount } from './texts.js';

/** Lengths that texts are cut to, beside their own. */
export const CUTS = [20, 30, 40, 50, 60, 80, 100, 125] as const;

/** Words of the units that documents are cut into to find changes of hand. */
export const PIECE_WORDS = 40;
/** Words that generated texts may share with their human twins. */
const PROMPT_WORDS = 30;

/** A score by a model that has seen neither the text, nor its human twin, nor its kind and generator. */
export interface OutOfFold extends ProseScore {
  readonly text: FitText;
  readonly words: number;
  /** The length that it was cut to; 0: not cut. */
  readonly cut: number;
}

/** A model and texts that it has not seen. */
export interface HeldOut {
  readonly model: ProseModel;
  readonly texts: readonly FitText[];
}

/**
 * Fits models on the other folds of the other cells, for the texts of every fold and cell. A cell that is its domain's only one stays
 * in: nothing else would teach the domain.
 *
 * @param prepare - what becomes of a fitted model before it scores, for example quantisation
 */
export function fitFolds(
  texts: readonly FitText[],
  prepare: (model: ProseModel) => ProseModel = (model) => model,
): HeldOut[] {
  return [...new Set(texts.map(({ cell }) => cell))].flatMap((cell) => {
    const domain = texts.find((text) => text.cell === cell)!.domain;
    const alone = new Set(texts.filter((text) => text.domain === domain).map((text) => text.cell)).size === 1;
    return Array.from({ length: FOLDS }, (_, fold) => ({
      model: prepare(
        fitProseModel(
          texts.filter((text) => text.mayFit && text.fold !== fold && (alone || text.cell !== cell)),
        ),
      ),
      texts: texts.filter((text) => text.cell === cell && text.fold === fold),
    }));
  });
}

/** Scores every text, whole and cut to several lengths. */
export function outOfFold(folds: readonly HeldOut[]): OutOfFold[] {
  return folds.flatMap(({ model, texts }) =>
    texts.flatMap((text) => {
      const words = wordCount(text.text);
      return [0, ...CUTS]
        .filter((cut) => cut < words)
        .map((cut) => {
          const piece = cut === 0 ? text.text : lastWords(text.text, cut);
          return { text, cut, words: cut || words, ...scoreProse(plainProse(piece).text, model) };
        });
    }),
  );
}

/** Scores of disjoint pieces of `PIECE_WORDS` words from the end of each text, its beginning left out. */
export function pieceScores(folds: readonly HeldOut[]): { text: FitText; scores: number[] }[] {
  return folds.flatMap(({ model, texts }) =>
    texts.map((text) => {
      const pieces = Math.floor((wordCount(text.text) - PROMPT_WORDS) / PIECE_WORDS);
      const scores = Array.from({ length: Math.max(0, pieces) }, (_, i) => {
        const piece = cutWords(lastWords(text.text, (i + 1) * PIECE_WORDS), PIECE_WORDS);
        return scoreProse(plainProse(piece).text, model).score;
      });
      return { text, scores };
    }),
  );
}
