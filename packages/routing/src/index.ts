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
export { createRouter } from './router.js';
export type {
  GroupScore,
  RouteIntoOptions,
  Router,
  RouterConfig,
  RoutingDecision,
  Scoring,
} from './types.js';
