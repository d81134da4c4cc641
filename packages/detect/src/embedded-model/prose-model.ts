import { GRAM_BUCKETS, type GramKind, hashedGrams } from './hashed-grams.js';
import { styleFeatures } from './style-features.js';

/** Norm that gram vectors are scaled to; fixes the meaning of the regularisation that weights were fitted with. */
export const GRAM_NORM = 5;
/** Standardised style numbers are cut off here, so that no single one decides. */
export const STYLE_LIMIT = 3;
/** Weight of the style part in the score. */
export const STYLE_SHARE = 2;

/** A logistic model over style numbers. */
export interface StyleWeights {
  readonly mean: Float64Array;
  readonly deviation: Float64Array;
  readonly weights: Float64Array;
  readonly bias: number;
}

/** A logistic model over hashed word sequences. */
export interface GramWeights {
  readonly kind: GramKind;
  /** Position of each bucket in `idf` and `weights`, -1 for sequences that were too rare to be used. `[GRAM_BUCKETS]` */
  readonly position: Int32Array;
  readonly idf: Float64Array;
  readonly weights: Float64Array;
  readonly bias: number;
}

/** All weights of the embedded detector. */
export interface ProseModel {
  readonly style: StyleWeights;
  readonly grams: readonly GramWeights[];
}

/** What a model says about a piece of plain prose. */
export interface ProseScore {
  /** Larger means AI; not yet a probability. */
  readonly score: number;
  /** Root mean square of the standardised style numbers: about 1 for texts like those it was fitted on. */
  readonly distance: number;
  /** Share of word sequences that the model has never or hardly ever seen. */
  readonly unseen: number;
}

/** Standardises style numbers. */
export function standardize(features: Float64Array, style: StyleWeights): Float64Array {
  return features.map((value, i) => {
    const z = (value - style.mean[i]!) / style.deviation[i]!;
    return Math.max(-STYLE_LIMIT, Math.min(STYLE_LIMIT, z));
  });
}

/** A gram vector of fixed norm over the positions that a model uses. */
export function gramVector(
  counts: ReadonlyMap<number, number>,
  model: Pick<GramWeights, 'position' | 'idf'>,
): { at: Int32Array; value: Float64Array; unseen: number } {
  const at: number[] = [];
  const value: number[] = [];
  let squares = 0;
  for (const [bucket, count] of counts) {
    const position = model.position[bucket]!;
    if (position < 0) continue;
    const x = (1 + Math.log(count)) * model.idf[position]!;
    at.push(position);
    value.push(x);
    squares += x * x;
  }
  const scale = squares > 0 ? GRAM_NORM / Math.sqrt(squares) : 0;
  return {
    at: Int32Array.from(at),
    value: Float64Array.from(value, (x) => x * scale),
    unseen: counts.size === 0 ? 1 : 1 - at.length / counts.size,
  };
}

/** Scores a piece of plain prose. */
export function scoreProse(plain: string, model: ProseModel): ProseScore {
  const z = standardize(styleFeatures(plain), model.style);
  let score = model.style.bias;
  let squares = 0;
  for (let i = 0; i < z.length; i++) {
    score += z[i]! * model.style.weights[i]!;
    squares += z[i]! ** 2;
  }
  score *= STYLE_SHARE;
  let unseen = 0;
  for (const grams of model.grams) {
    const vector = gramVector(hashedGrams(plain, grams.kind), grams);
    let sum = grams.bias;
    for (let i = 0; i < vector.at.length; i++) sum += grams.weights[vector.at[i]!]! * vector.value[i]!;
    score += sum;
    unseen += vector.unseen / model.grams.length;
  }
  return { score, distance: Math.sqrt(squares / Math.max(1, z.length)), unseen };
}

/** Positions of the buckets that a bitmap of `GRAM_BUCKETS` bits names. */
export function positionsOf(bitmap: Uint8Array): Int32Array {
  const position = new Int32Array(GRAM_BUCKETS).fill(-1);
  let next = 0;
  for (let bucket = 0; bucket < GRAM_BUCKETS; bucket++) {
    if ((bitmap[bucket >> 3]! & (1 << (bucket & 7))) !== 0) position[bucket] = next++;
  }
  return position;
}
