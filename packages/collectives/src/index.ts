export type {
  Algorithm,
  CallOptions,
  CollectiveOp,
  Communicator,
  Plan,
  PlanRequest,
  ReduceOptions,
  RunOptions,
  WaitOptions,
} from './communicator/communicator.js';
export { type Traffic, TrafficCounters, type TrafficReport } from './communicator/counters.js';
export {
  bytesPerElement,
  type Dtype,
  type DtypeArray,
  type Reduction,
  viewAs,
} from './communicator/dtype.js';
export {
  createTopology,
  type LinkClass,
  linkClass,
  subTopology,
  type Topology,
  uniformTopology,
} from './communicator/topology.js';
export type {
  BoundReduction,
  Channel,
  FusedReduction,
  NativeOperation,
  NativeRequest,
  Pending,
  ReceiveChannel,
  SendChannel,
  Transport,
  TransportFailure,
} from './communicator/transport.js';
export {
  CollectivesError,
  type CollectivesErrorCode,
  CollectivesTimeoutError,
  MismatchError,
  PeerFailureError,
} from './errors.js';
export {
  algorithmsOf,
  createSchedule,
  type NamedAlgorithm,
  type ScheduleRequest,
  supports,
  totalsOf,
} from './schedule/create-schedule.js';
export type {
  BufferName,
  LocalStep,
  ReceiveStep,
  Region,
  Round,
  Schedule,
  ScheduleTotals,
  SendStep,
} from './schedule/ir.js';
