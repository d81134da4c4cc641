import { stepsOf } from './labelled-scores.js';

/** Areas under a precision-recall curve. */
export interface PrecisionRecallAreas {
  /** Trapezoidal area from the point (recall 0, precision 1) on, as most published tables use it. */
  readonly trapezoid: number;
  /** Sum of precision times increase of recall: no interpolation. */
  readonly averagePrecision: number;
}

/** Areas under the precision-recall curve of two sets of scores, high meaning AI. */
export function precisionRecallAreas(human: ArrayLike<number>, ai: ArrayLike<number>): PrecisionRecallAreas {
  const { falsePositives, truePositives, ais } = stepsOf(human, ai);
  let trapezoid = 0;
  let averagePrecision = 0;
  let recall = 0;
  let precision = 1;
  for (let i = 0; i < truePositives.length; i++) {
    const nextRecall = truePositives[i]! / ais;
    const nextPrecision = truePositives[i]! / (truePositives[i]! + falsePositives[i]!);
    trapezoid += ((nextRecall - recall) * (nextPrecision + precision)) / 2;
    averagePrecision += (nextRecall - recall) * nextPrecision;
    recall = nextRecall;
    precision = nextPrecision;
  }
  return { trapezoid, averagePrecision };
}
