export { canServe, type ModelPair, needCapability } from './capability.js';
export { type FitThresholdOptions, fitThreshold, type ThresholdRule } from './fit-threshold.js';
export { DetectHttpError, type HttpOptions } from './http-client.js';
export type {
  Capability,
  LanguageModel,
  ModelIdentity,
  ScoreOptions,
  TokenScore,
} from './language-model.js';
export {
  type DetectorScore,
  type MeasuredText,
  type MeasureOptions,
  type ModelPairIdentity,
  measureText,
  scoreMeasured,
  scoreText,
} from './measure-text.js';
export {
  applyThreshold,
  BINOCULARS_THRESHOLDS,
  type DetectorThreshold,
  isFlagged,
  parseThreshold,
} from './threshold.js';
