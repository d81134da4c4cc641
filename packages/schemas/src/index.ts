export {
  BenchmarkDataset,
  BenchmarkFigure,
  BenchmarkInterval,
  BenchmarkRecord,
  BenchmarkSlice,
  BenchmarkSubject,
} from './benchmark-record.js';
export {
  BenchmarkMachine,
  BenchmarkRatio,
  BenchmarkReport,
  BenchmarkRow,
} from './benchmark-report.js';
export {
  BinadeHistogram,
  CheckpointInspection,
  CodeStatistics,
  ErrorStatistics,
  ScaleStatistics,
  TensorInspection,
  ValueStatistics,
} from './checkpoint-inspection.js';
export {
  SglangExpertLocation,
  TensorRtLlmLoadBalancer,
  TensorRtLlmStatisticsInfo,
  VllmAscendExpertMap,
  VllmExpertState,
} from './engine-files.js';
export * from './errors.js';
export { GenerationConfig } from './generation-config.js';
export { type JsonSchema, persistedSchemas, toJsonSchema } from './json-schema.js';
export {
  LatencySummary,
  LoadErrorCount,
  LoadOutcome,
  LoadReport,
  LoadRequestRow,
} from './load-report.js';
export { ExpertLoad, MigrationPlan, Placement, PlacementDeployment } from './placement.js';
export {
  MOONCAKE_BLOCK_TOKENS,
  type ReadTraceOptions,
  readRequestTrace,
  type TraceProblem,
  type TraceRequest,
} from './request-trace.js';
export { MAX_TRACE_RECORDS, RoutingTrace, RoutingTraceRecord } from './routing-trace.js';
export {
  decodeSidecar,
  encodeSidecar,
  MAX_SIDECAR_HEADER_BYTES,
  type SidecarArray,
  SidecarError,
  type SidecarTensor,
} from './sidecar.js';
export { LinkTraffic, PhaseTraffic, TrafficByLink, TrafficReport } from './traffic-report.js';
export {
  TrainBalance,
  TrainCheckpoint,
  TrainConfig,
  TrainData,
  TrainEvent,
  TrainModel,
  TrainOptimizer,
  TrainRecipe,
  TrainSchedule,
} from './training.js';
export {
  CorpusConfig,
  CorpusDocument,
  CorpusManifest,
  CorpusSource,
  CorpusSplit,
} from './training-corpus.js';
export {
  decodeBase64,
  encodeBase64,
  Float32Base64,
  Float64Base64,
  Int32Base64,
  MAX_BASE64_LENGTH,
  Uint8Base64,
  Uint16Base64,
} from './typed-arrays.js';
export { FinishReason, TokenUsage } from './usage.js';
