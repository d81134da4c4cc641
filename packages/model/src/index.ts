export type { ChatMessage, ChatTemplateOptions } from './chat-template.js';
export { DeepseekConfig, endOfSequenceIds, parseConfig } from './config.js';
export type { Detokenizer } from './detokenizer.js';
export { type Dimensions, dimensionsOf } from './dimensions.js';
export type { EmulatedRanks } from './emulated-exchange.js';
export { ModelError, type ModelErrorCode } from './errors.js';
export {
  type DispatchRequest,
  type ExpertExchange,
  LocalExpertExchange,
  type ReceivedRows,
} from './expert-exchange.js';
export { ExpertPlacement } from './expert-placement.js';
export { readGenerationConfig } from './generation-config.js';
export type { LayerStages } from './layer-stages.js';
export { type GenerateOptions, type LoadModelOptions, loadModel, type Model } from './load-model.js';
export { openRuntime } from './open-runtime.js';
export { OVERLAP_TOKENS } from './overlap-choice.js';
export { type ExpertRoutingOptions, expertRows, type ParallelOptions } from './parallel-options.js';
export type { AttentionMode, Precision, W8A8Scale } from './precision.js';
export type { SeededRandom } from './random.js';
export { readConfig } from './read-config.js';
export { RowViews } from './row-views.js';
export { type ForwardOptions, ModelRuntime } from './runtime.js';
export type { ModelRuntimeOptions } from './runtime-options.js';
export { createSamplerState, Sampler, type SamplerState, type TokenLogprobs } from './sampler.js';
export { type SamplingOptions, type SamplingPolicy, samplingPolicy } from './sampling-options.js';
export { expertSharedBytes } from './shared-bytes.js';
export {
  type Overlap,
  type ScheduledStage,
  type StageName,
  type StageSchedule,
  stageSchedules,
  tensorSchedules,
} from './stage-schedule.js';
export { type StageRecord, StageTrace } from './stage-trace.js';
export type { BatchLimits, StepBatch } from './step-batch.js';
export type { StepState } from './step-state.js';
export type { TensorExchange, TensorSizes } from './tensor-exchange.js';
export { type DecodeOptions, type EncodeOptions, loadTokenizer, Tokenizer } from './tokenizer.js';
export type { Workspace } from './workspace.js';
