export {
  type ApplyCapacityOptions,
  applyCapacity,
  type CapacityDecision,
  type DropPolicy,
  padToCapacity,
} from './capacity/apply-capacity.js';
export { type CapacityRule, type CapacityShape, expertCapacity } from './capacity/expert-capacity.js';
export { nodeGroupScore } from './config.js';
export {
  type BiasController,
  type BiasControllerOptions,
  type BiasControllerState,
  type BiasProgress,
  createBiasController,
  type GammaSchedule,
  gammaUntil,
} from './control/bias-controller.js';
export { type LoadMetrics, loadMetrics } from './control/load-metrics.js';
export { createLoadTracker, type LoadTracker } from './control/load-tracker.js';
export {
  allocateDispatchPlan,
  type DispatchOptions,
  type DispatchPlan,
  type DispatchTopology,
  meanFanOut,
  planDispatch,
  planDispatchInto,
} from './dispatch/dispatch-plan.js';
export { RoutingError, type RoutingErrorCode } from './errors.js';
export type { AffinityLossOptions } from './losses/affinities.js';
export { importanceLoss, type LoadLossOptions, loadLoss, zLoss } from './losses/auxiliary.js';
export type { CountReducer, Selection } from './losses/counts.js';
export {
  type BalanceLoss,
  type BalanceLossOptions,
  type CommunicationLossOptions,
  communicationBalanceLoss,
  type DeviceLossOptions,
  deviceBalanceLoss,
  expertBalanceLoss,
  type SequenceLossOptions,
  sequenceBalanceLoss,
} from './losses/deepseek.js';
export { type SwitchLossOptions, type SwitchNormalization, switchLoss } from './losses/switch.js';
export {
  type AlignedLayout,
  alignPermutation,
  alignPermutationInto,
  allocateAlignedLayout,
} from './permutation/aligned-layout.js';
export { indicesFromMask, maskFromIndices, type RoutingMask } from './permutation/masks.js';
export {
  allocatePermutation,
  type Permutation,
  planPermutation,
  planPermutationInto,
} from './permutation/permutation.js';
export {
  type CombineOptions,
  combineRows,
  type PermuteOptions,
  permuteRows,
  permuteValues,
  type Rows,
  type SummableRows,
} from './permutation/rows.js';
export { type RouterPreset, routerPreset } from './presets.js';
export { createRandom, type RandomSource } from './random.js';
export { createRouter, createScalarRouter } from './router.js';
export { cosineLogits } from './routers/cosine-logits.js';
export { type ExpertChoice, type ExpertChoiceOptions, routeByExpertChoice } from './routers/expert-choice.js';
export { createHashRouter, type HashRouter, type HashRouterOptions } from './routers/hash-router.js';
export { addNoise, balancedIndices, type RouterNoise } from './routers/noise.js';
export { appendSharedExperts } from './routers/shared-experts.js';
export { routeBySinkhorn, type SinkhornOptions, type SinkhornResult, sinkhorn } from './routers/sinkhorn.js';
export { createTraceRecorder, type TraceRecorder, type TraceRecorderOptions } from './trace/recorder.js';
export { createReplayRouter, type ReplayRouter } from './trace/replay.js';
export { type CapturedTrace, type TraceRecord, traceLoad } from './trace/trace.js';
export type {
  GroupScore,
  ResolvedRouterConfig,
  RouteIntoOptions,
  RouteOptions,
  Router,
  RouterConfig,
  RoutingDecision,
  RoutingTopology,
  Scoring,
} from './types.js';
