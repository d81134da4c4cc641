export { fromBf16, toBf16 } from './bf16.js';
export type { Biases } from './combine-input.js';
export type {
  CombineFormat,
  DispatcherConfig,
  DispatcherOptions,
  DispatchMode,
  DispatchTopology,
  Fp8ScaleMode,
  PayloadFormat,
} from './config.js';
export {
  createDispatcher,
  createDispatcherSync,
  type DispatcherOf,
  type ModeDispatcher,
} from './create-dispatcher.js';
export { DispatcherBase, type Exchange, type PendingExchange } from './dispatcher-base.js';
export type { ExpandedLayout } from './expanded-rows.js';
export type { DispatchHandle } from './handle.js';
export { type DispatchLayout, dispatchLayout, type LayoutShape } from './layout.js';
export {
  type LowLatencyCombineInput,
  type LowLatencyCombineResult,
  LowLatencyDispatcher,
  type LowLatencyInput,
  type LowLatencyResult,
} from './low-latency-dispatcher.js';
export { dispatcherBytes } from './memory.js';
export { combineMessage, dispatchMessage, type MessageFormat, type MessageShape } from './message.js';
export {
  type CombineInput,
  type CombineResult,
  Dispatcher,
  type DispatchInput,
  type DispatchResult,
} from './normal-dispatcher.js';
export type { RowArray } from './received-rows.js';
export type { DispatchCounters } from './slot-counters.js';
export {
  type PhaseTrafficSummary,
  type RankCounters,
  snapshotCounters,
  type TokenTraffic,
  type TokenTrafficByLink,
  type TrafficSummary,
  trafficReport,
} from './traffic.js';
