export type {
  Algorithm,
  CallOptions,
  CollectiveOp,
  Communicator,
  Plan,
  PlanBuffers,
  PlanCommon,
  PlanRequest,
  ReduceOptions,
  RunOptions,
  WaitOptions,
} from './communicator/communicator.js';
export { type Traffic, TrafficCounters, type TrafficReport } from './communicator/counters.js';
export { type CommunicatorOptions, createCommunicator } from './communicator/create-communicator.js';
export {
  bytesPerElement,
  type Dtype,
  type DtypeArray,
  type Reduction,
  viewAs,
} from './communicator/dtype.js';
export { type ImposedLink, withLinkModel } from './communicator/link-model.js';
export { type MeasureOptions, measureLinks } from './communicator/measure-links.js';
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
export { blockUntil, type Waitable, waitUntil } from './communicator/waiting.js';
export {
  CollectivesError,
  type CollectivesErrorCode,
  CollectivesTimeoutError,
  MismatchError,
  PeerFailureError,
} from './errors.js';
export { createLoopback, type LoopbackOptions } from './loopback/create-loopback.js';
export { finishTogether, runTogether } from './loopback/run-together.js';
export * from './moe/index.js';
export { type Choice, chooseAlgorithm, estimateSeconds } from './schedule/choose-algorithm.js';
export {
  algorithmsOf,
  createSchedule,
  type NamedAlgorithm,
  type ScheduleRequest,
  supports,
  totalsOf,
} from './schedule/create-schedule.js';
export { checkFit, fitLink, type LinkSample } from './schedule/fit-links.js';
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
export { defaultLinkFit, type LinkFit, type LinkModel } from './schedule/link-fit.js';
