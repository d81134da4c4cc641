export { type ApiKey, hashApiKey, type Limits } from './auth/api-keys.js';
export type {
  Backend,
  BackendBase,
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
  ServedModel,
  StageMetrics,
  TokenLogprob,
  TokenProbability,
  Usage,
} from './backend.js';
export { type CreatePoolOptions, createPoolBackend } from './backends/create-pool-backend.js';
export { OpenAiBackend, type OpenAiBackendOptions } from './backends/openai-backend.js';
export type { PoolBackend, PoolBackendOptions } from './backends/pool-backend.js';
export type { RetryOptions } from './backends/retry.js';
export { SglangBackend, type SglangBackendOptions } from './backends/sglang-backend.js';
export { VllmBackend, type VllmBackendOptions, type VllmConnector } from './backends/vllm-backend.js';
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
export type { AdminAccess } from './dashboard/access.js';
export type { SloTargets } from './embedded/engine-stats.js';
export { type OpenAiErrorType, ServingError, type ServingErrorOptions } from './errors.js';
export type {
  ForwardAnswer,
  ForwardingBackend,
  ForwardOptions,
  ForwardPath,
  ForwardRequest,
} from './forward.js';
export type { AnyBackend } from './gateway/backend-set.js';
export { createGateway, type Gateway } from './gateway/gateway.js';
export type { MonitorOptions, RequestSpans } from './gateway/monitor.js';
export type { GatewayEnv, GatewayOptions } from './gateway/options.js';
export type { GatewayGuardrail, GuardrailOutcome } from './guardrail/guardrail.js';
export { JsonObject } from './json/json-object.js';
export { type Listening, type ListenOptions, listen, requireFreePort } from './listen.js';
export {
  type BreakerState,
  type GatewayEvent,
  type GatewayObserver,
  joinObservers,
  type RequestEvent,
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
export {
  type CacheAwareOptions,
  cacheAware,
  type SessionAffinityOptions,
  sessionAffinity,
} from './policies/affinity-policies.js';
export { createPolicy } from './policies/create-policy.js';
export type { Candidate, LoadGuard, Policy, RoutingHint } from './policies/policy.js';
export { leastLoadedPolicy, powerOfTwo, roundRobin } from './policies/simple-policies.js';
export { type Random, seededRandom } from './random.js';
export type { AccessLogEntry } from './tracing/access-log.js';
export type { HealthOptions } from './upstream/health-checks.js';
export type { BodyConsumer, BodySource } from './upstream/leg.js';
export type { Timeouts, WorkerOptions } from './upstream/worker.js';
