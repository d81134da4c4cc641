export { readCheckpoint, writeCheckpoint } from './checkpoint.js';
export { type FetchPackageOptions, fetchPackage, type PackageReference } from './corpus/fetch-package.js';
export {
  corpusFiles,
  type PrepareCorpusOptions,
  type PrepareProgress,
  prepareCorpus,
} from './corpus/prepare-corpus.js';
export {
  createTokenSource,
  type FileTokenSource,
  readManifest,
  type TokenSourceOptions,
} from './corpus/token-source.js';
export { TrainingError, type TrainingErrorCode } from './errors.js';
export { type ExportOptions, exportModel } from './export-model.js';
export type { SavedBytes } from './network.js';
export { learningRateAt } from './optimizer.js';
export { type Parameter, type ParameterKind, type ParameterPlan, planParameters } from './parameters.js';
export {
  compareRuns,
  type RecipeComparison,
  type RunComparison,
  recipeName,
  type SeedComparison,
} from './report/compare-runs.js';
export { parseRunLog, type Run, type RunLog, type StepEvent } from './report/run-log.js';
export { type TrainingPageOptions, trainingPage } from './report/training-page.js';
export { BpeEncoder } from './tokenizer/bpe-encoder.js';
export { tokenizerConfigJson, tokenizerJson } from './tokenizer/tokenizer-json.js';
export { type BpeMerge, type BpeVocabulary, type TrainBpeOptions, trainBpe } from './tokenizer/train-bpe.js';
export { train } from './train.js';
export { type StepResult, Trainer, type TrainerState } from './trainer.js';
export type { TokenSource, TokenSourceSpec, TrainOptions } from './types.js';
