export { type AdaptPlanOptions, adaptPlan, lostExperts } from './adapt-plan.js';
export { type BalanceMetrics, balanceMetrics } from './balance.js';
export { type ActiveSet, DynamicRedundancy } from './dynamic-redundancy.js';
export { PlacementError, type PlacementErrorCode } from './errors.js';
export { gpuLoads } from './gpu-loads.js';
export { type LiveMigration, LiveRebalancer, type LiveRebalancerOptions } from './live-rebalancer.js';
export { LoadForecast } from './load-forecast.js';
export { ExpertLoadRecorder, type ExpertLoadRecorderOptions } from './load-recorder.js';
export type { RoutingShape } from './locality.js';
export { lowerBound } from './lower-bound.js';
export {
  type MigrationOptions,
  type MigrationPlan,
  planMigration,
  type SlotTransfer,
  type TransferKind,
} from './migration.js';
export {
  MigrationSchedule,
  type MigrationScheduleOptions,
  type MigrationStep,
} from './migration-schedule.js';
export { decodeLoad, decodePlan, encodeLoad, encodePlan } from './placement-file.js';
export { initialPlan, type LogicalToPhysical, logicalToPhysical, planFromSlots } from './plan.js';
export { type LayerReport, type PlanReport, reportPlan } from './plan-report.js';
export { type RebalanceOptions, rebalance } from './rebalance.js';
export { type RebalanceReason, RebalanceTrigger, type RebalanceTriggerOptions } from './rebalance-trigger.js';
export {
  type LoadTrace,
  type ReplayDeployment,
  type ReplayOptions,
  type ReplayResult,
  replay,
} from './replay.js';
export {
  createReplicaSelector,
  type ReplicaPolicy,
  type ReplicaSelector,
  type ReplicaSelectorOptions,
} from './replica-selector.js';
export { TokenSplitter } from './token-split.js';
export type { Deployment, Load, Plan, Policy, Ties } from './types.js';
