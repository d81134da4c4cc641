export { CliError } from './errors.js';
export {
  type EvaluatedModel,
  type EvaluateOptions,
  type EvaluationProgress,
  evaluateModels,
} from './evaluation/evaluate-models.js';
export { type CliEnvironment, runCli } from './program.js';
export type { CliStreams } from './reporter.js';
export type { SignalSource } from './shutdown.js';
