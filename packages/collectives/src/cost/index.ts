export { type LinkClass, type Topology, uniformTopology } from '../communicator/topology.js';
export { CollectivesError, type CollectivesErrorCode } from '../errors.js';
export type { CombineFormat, DispatchMode, PayloadFormat } from '../moe/config.js';
export { combineMessage, dispatchMessage, type MessageFormat, type MessageShape } from '../moe/message.js';
export type { ScheduleTotals } from '../schedule/ir.js';
export {
  type CalibrationRow,
  calibrationTable,
  interpolationCalibration,
  lowLatencyCalibration,
  normalCalibration,
} from './calibration.js';
export {
  type CollectiveCost,
  type CollectiveCostRequest,
  collectiveCost,
  type LinkBytes,
  type RankCost,
} from './collective-cost.js';
export {
  type DispatchCost,
  type DispatchCostRequest,
  dispatchCost,
  expectedTokens,
  type LinkTokens,
  type PhaseCost,
  phaseCost,
} from './dispatch-cost.js';
export { expectedDistinctGroups, expectedFanout, type Fanout, type FanoutShape } from './fanout.js';
export { interpolateLowLatencyUs, type LowLatencyPhase, leaveOneOutErrors } from './interpolation.js';
export { type ClusterLinks, h800LowLatency, h800Normal, type LinkRate } from './links.js';
export { deepEpPublished, type LowLatencyRow, type NormalRow } from './published.js';
