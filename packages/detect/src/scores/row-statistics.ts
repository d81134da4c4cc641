import { DetectError } from '../errors.js';

/** What one pass over one position's logits gives; an object that is reused, all fields overwritten by each read. */
export class RowStatistics {
  /** Largest logit of the performer, as given (before the temperature). */
  maximum: number = 0;
  /** ln sum exp((logit - maximum) / temperature) of the performer. */
  logNormalizer: number = 0;
  /** ln q(token) of the performer, 0 without a token. */
  logProb: number = 0;
  /** Rank of the token from 1; ties by id. 0 without a token. */
  rank: number = 0;
  /** ln q of the performer's best token. */
  bestLogProb: number = 0;
  /** -sum q ln q of the performer. */
  entropy: number = 0;
  /** sum q (ln q)^2 - entropy^2 of the performer. */
  variance: number = 0;
  /** -sum p ln q with p of the observer; the performer's entropy without an observer. */
  crossEntropy: number = 0;
  /** sum p (ln q)^2 - crossEntropy^2; the performer's variance without an observer. */
  crossVariance: number = 0;
}

/** Reads one position; implementations differ in speed and rounding only. */
export interface RowReader {
  /**
   * @param observer - logits `[vocabulary]` of the model whose distribution weighs the performer's, if there is one
   * @param performer - logits `[vocabulary]` of the model that scores
   * @param token - id of the next token, or -1
   * @throws DetectError with code `detect/not-finite` for NaN, +Infinity, or a row without a finite logit
   */
  read(observer: Float32Array | undefined, performer: Float32Array, token: number, out: RowStatistics): void;
  /** ln q(token) in the row that was read last into `row`. */
  logProbOf(performer: Float32Array, token: number, row: RowStatistics): number;
}

/** Names the first bad logit; called when a reader found one. */
export function badLogits(observer: Float32Array | undefined, performer: Float32Array): DetectError {
  for (const [name, logits] of [
    ['performer', performer],
    ['observer', observer],
  ] as const) {
    const index = logits?.findIndex((value) => Number.isNaN(value) || value === Infinity) ?? -1;
    if (logits === undefined || index < 0) continue;
    return new DetectError({
      code: 'detect/not-finite',
      message: `expected finite logits or -Infinity from the ${name}, got ${logits[index]} for token ${index}`,
      value: { model: name, token: index, logit: String(logits[index]) },
      remedy: 'look for an overflow in the model: half-precision logits often need a wider type',
    });
  }
  return new DetectError({
    code: 'detect/not-finite',
    message: 'expected at least one token with finite logits in both models, got -Infinity only',
    remedy: 'check the masks that were applied to the logits',
  });
}
