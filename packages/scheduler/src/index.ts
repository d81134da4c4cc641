export { SchedulerError, type SchedulerErrorCode } from './errors.js';
export { type ReferenceRequest, type ReferenceResult, replayReference } from './replay-reference.js';
export { Scheduler } from './scheduler.js';
export type {
  RequestState,
  SchedulerConfig,
  SchedulerRequest,
  SchedulerStats,
  StageConfig,
  StageStats,
  StepEngine,
  StepOutcomes,
  StepPlan,
} from './types.js';
