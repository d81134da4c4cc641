export { TrainingError, type TrainingErrorCode } from './errors.js';
export type { TokenSource, TokenSourceSpec, TrainOptions } from './types.js';
