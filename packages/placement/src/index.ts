export { type BalanceMetrics, balanceMetrics } from './balance.js';
export { PlacementError, type PlacementErrorCode } from './errors.js';
export { gpuLoads } from './gpu-loads.js';
export { lowerBound } from './lower-bound.js';
export { initialPlan, type LogicalToPhysical, logicalToPhysical, planFromSlots } from './plan.js';
export { type RebalanceOptions, rebalance } from './rebalance.js';
export { type LoadTrace, type ReplayDeployment, type ReplayOptions, type ReplayResult, replay } from './replay.js';
export {
  createReplicaSelector,
  type ReplicaPolicy,
  type ReplicaSelector,
  type ReplicaSelectorOptions,
} from './replica-selector.js';
export type { Deployment, Load, Plan, Policy, Ties } from './types.js';
