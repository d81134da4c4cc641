export { type BinocularsOptions, type BinocularsScore, binoculars } from './binoculars.js';
export {
  type Detector,
  type DetectorName,
  type DetectorNeed,
  detectors,
  type Orientation,
} from './detectors.js';
export { fastDetectGpt, sampledDiscrepancy } from './fast-detect-gpt.js';
export { type FromLogitsOptions, fromLogits, type PairLogits, statisticsFromLogits } from './from-logits.js';
export {
  GHOSTBUSTER_EXPRESSIONS,
  ghostbusterFeature,
  ghostbusterHandFeatures,
  type ProbabilityVectors,
} from './ghostbuster.js';
export { type GlimpseEstimate, type GlimpseOptions, glimpse, type TopKToken } from './glimpse.js';
export { type GltrStatistics, gltr, gltrCounts } from './gltr.js';
export { diversityEntropies, LASTDE_CLOSED, type LastdeOptions, lastde, lastdePlusPlus } from './lastde.js';
export { entropy, logLikelihood, logRank, lrr, rank } from './likelihood.js';
export {
  type DetectGptScore,
  detectGpt,
  detectGptFrom,
  dnaGpt,
  dnaGptFrom,
  fillSpans,
  type MaskSpansOptions,
  maskSpans,
  npr,
  nprFrom,
  type PerturbationOptions,
  type Perturber,
  type Regenerator,
  type TextScore,
} from './perturbation.js';
export { type RowLabel, TextScorer, type TextScorerOptions } from './text-scorer.js';
export type { ScorePrecision, TextStatistics, TokenStatistics } from './text-statistics.js';
export {
  FAST_DETECT_GPT_NORMALS,
  type TwoNormal,
  type TwoNormalOptions,
  twoNormalProbability,
} from './two-normal.js';
export type { SeedFunction, WatermarkScheme, WatermarkSchemeName } from './watermark/seeding.js';
export {
  detectWatermark,
  greenList,
  torchRandomPermutation,
  type WatermarkOptions,
  type WatermarkScore,
} from './watermark/watermark.js';
