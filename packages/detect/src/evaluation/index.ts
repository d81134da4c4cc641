export {
  type BootstrapOptions,
  type BootstrapResult,
  bootstrapAuc,
  percentileInterval,
  resampler,
} from './bootstrap.js';
export { type CalibrationBin, type CalibrationError, calibrationError } from './calibration-error.js';
export {
  type ConfidenceOptions,
  type DelongComparison,
  type DelongResult,
  delong,
  delongPaired,
  type Interval,
} from './delong.js';
export { type Evaluation, evaluate } from './evaluate.js';
export { fitIsotonic, type IsotonicCalibration, isotonicProbability } from './isotonic.js';
export { type LabelledScores, splitByLabel } from './labelled-scores.js';
export { type MannWhitneyResult, mannWhitney } from './mann-whitney.js';
export { fitPlatt, type PlattCalibration, type PlattOptions, plattProbability } from './platt.js';
export { type PrecisionRecallAreas, precisionRecallAreas } from './precision-recall.js';
export { clopperPearsonInterval, wilsonInterval } from './proportions.js';
export {
  type FprOptions,
  partialAuc,
  type RocCurve,
  type RocOptions,
  rocAuc,
  rocCurve,
  type TprAtFpr,
  tprAtFpr,
} from './roc.js';
export { erfc, incompleteBeta, logGamma, normalQuantile, normalSurvival } from './special-functions.js';
export {
  evaluateStrata,
  type ScoredText,
  type StrataOptions,
  type StrataReport,
  type Stratum,
} from './strata.js';
export {
  type BestThreshold,
  bestThreshold,
  type ConformalThreshold,
  conformalPValue,
  conformalThreshold,
  type FprThreshold,
  type RaidThreshold,
  raidThreshold,
  type ThresholdCriterion,
  thresholdForFpr,
} from './thresholds.js';
