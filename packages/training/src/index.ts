export { TrainingError, type TrainingErrorCode } from './errors.js';
