export {
  AdmissionController,
  type AdmissionDecision,
  type AdmissionPolicy,
  type AdmissionRequest,
} from './admission.js';
export { SchedulerError, type SchedulerErrorCode } from './errors.js';
export { PrefixCache } from './prefix-cache.js';
export type { QueueLoad } from './queue-load.js';
export { type FcfsRequest, type FcfsResult, replayFcfs } from './replay-fcfs.js';
export { type PrefixCacheResult, type PrefixRequest, replayPrefixCache } from './replay-prefix-cache.js';
export { type ReferenceRequest, type ReferenceResult, replayReference } from './replay-reference.js';
export { Scheduler } from './scheduler.js';
export { StepCostEstimator, type StepCosts, type StepFeatures, stepFeatures } from './step-cost.js';
export type {
  FairnessConfig,
  MicroBatchConfig,
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
