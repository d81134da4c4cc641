export type {
  Backend,
  BackendEvent,
  BackendHealth,
  BackendMetrics,
  ChatMessage,
  GenerateRequest,
  HistogramSnapshot,
  ModelCard,
  Prompt,
  PromptLogprob,
  SamplingRequest,
  StageMetrics,
  TokenLogprob,
  TokenProbability,
  Usage,
} from './backend.js';
export { type Clock, systemClock } from './clock.js';
export {
  ApiKeyConfig,
  BackendConfig,
  BootstrapWorkerConfig,
  BreakerConfig,
  EmbeddedBackendConfig,
  HealthConfig,
  LimitsConfig,
  ObservabilityConfig,
  OpenAiBackendConfig,
  PolicyConfig,
  RetryConfig,
  ServeConfig,
  SglangBackendConfig,
  SloConfig,
  TimeoutsConfig,
  VllmBackendConfig,
  WorkerConfig,
} from './config.js';
export { type OpenAiErrorType, ServingError, type ServingErrorOptions } from './errors.js';
export { createGateway, type Gateway } from './gateway/gateway.js';
export type { GatewayEnv, GatewayOptions } from './gateway/options.js';
export { type Listening, type ListenOptions, listen, requireFreePort } from './listen.js';
export {
  type BreakerState,
  type GatewayEvent,
  type GatewayObserver,
  joinObservers,
  type RequestOutcome,
  type WorkerRole,
} from './observer.js';
export { ChatCompletionRequest } from './openai/chat-request.js';
export { requestLimits } from './openai/common-request.js';
export { CompletionRequest } from './openai/completion-request.js';
export {
  ChatCompletion,
  ChatCompletionChunk,
  Completion,
  ErrorBody,
  HealthBody,
  ModelBody,
  ModelList,
  UsageBody,
} from './openai/responses.js';
