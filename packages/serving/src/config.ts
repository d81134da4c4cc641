import { z } from 'zod';

const url = z
  .url({ protocol: /^https?$/, error: 'expected an http or https URL' })
  .describe('Address of the server, without /v1');
const positive = z.number().positive().finite();
const rate = z.int().min(1).max(1_000_000_000);

/** A server of a pool. */
export const WorkerConfig = z.strictObject({
  url,
  /** Default: host and port of the URL. */
  name: z.string().min(1).max(128).optional(),
  apiKey: z.string().min(1).optional().describe('Sent as Authorization: Bearer; see also apiKeyEnv'),
  apiKeyEnv: z.string().min(1).optional().describe('Environment variable that holds the key'),
  dataParallelRanks: z.int().min(1).max(4096).optional().describe('Ranks that requests can be pinned to'),
});
export type WorkerConfig = z.infer<typeof WorkerConfig>;

/** A prefill server of vLLM with the Mooncake connector, or of SGLang. */
export const BootstrapWorkerConfig = WorkerConfig.extend({
  bootstrapHost: z.string().min(1).optional().describe('Default: host of the URL'),
  bootstrapPort: z.int().min(1).max(65_535).nullable().optional().describe('Default 8998'),
});
export type BootstrapWorkerConfig = z.infer<typeof BootstrapWorkerConfig>;

/** How a worker is chosen. */
export const PolicyConfig = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('round-robin') }),
  z.strictObject({ type: z.literal('least-loaded') }),
  z.strictObject({ type: z.literal('power-of-two') }),
  z.strictObject({
    type: z.literal('cache-aware'),
    blockCharacters: z
      .int()
      .min(16)
      .max(65_536)
      .optional()
      .describe('Prompt characters per block; default 256'),
    maxBlocks: z
      .int()
      .min(1)
      .max(100_000_000)
      .optional()
      .describe('Blocks remembered over all workers; default 100000'),
    maxLoadGap: z
      .number()
      .min(0)
      .optional()
      .describe('Requests that a worker may run more than the least loaded one; default 8'),
    maxLoadRatio: z
      .number()
      .min(1)
      .optional()
      .describe('And times as many, before affinity gives way; default 1.5'),
  }),
  z.strictObject({
    type: z.literal('session-affinity'),
    header: z
      .string()
      .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/)
      .optional()
      .describe(
        'Header that names the session; default x-session-id. Without it: prompt_cache_key, then user',
      ),
    maxLoadGap: z.number().min(0).optional(),
    maxLoadRatio: z.number().min(1).optional(),
  }),
]);
export type PolicyConfig = z.infer<typeof PolicyConfig>;

/** Limits on waiting. */
export const TimeoutsConfig = z.strictObject({
  connectSeconds: positive.optional().describe('Default 5'),
  headSeconds: positive.optional().describe('Request sent to the head of the answer; default 600'),
  idleSeconds: positive.optional().describe('Between two pieces of an answer; default 120'),
  keepAliveSeconds: positive
    .optional()
    .describe("How long idle connections are kept; below the servers' own, default 4"),
});
export type TimeoutsConfig = z.infer<typeof TimeoutsConfig>;

/** Retries, all of them before the first byte of an answer. */
export const RetryConfig = z.strictObject({
  maxAttempts: z.int().min(1).max(10).optional().describe('Tries in all; default 3'),
  baseDelaySeconds: z
    .number()
    .min(0)
    .optional()
    .describe('Doubles with each retry, with full jitter; default 0.05'),
  maxDelaySeconds: z.number().min(0).optional().describe('Longest wait, also for Retry-After; default 2'),
  statuses: z.array(z.int().min(400).max(599)).optional().describe('Default 408, 429, 500, 502, 503, 504'),
});
export type RetryConfig = z.infer<typeof RetryConfig>;

/** When a failing worker gets no more requests, and for how long. */
export const BreakerConfig = z.strictObject({
  failures: z.int().min(1).optional().describe('Failures in a row that open the breaker; default 5'),
  openSeconds: positive
    .optional()
    .describe('How long it stays open before one request tries again; default 10'),
});
export type BreakerConfig = z.infer<typeof BreakerConfig>;

/** Active health checks. */
export const HealthConfig = z.strictObject({
  path: z.string().startsWith('/').optional().describe('Default /health'),
  intervalSeconds: positive.optional().describe('Default 5'),
  timeoutSeconds: positive.optional().describe('Default 2'),
  failures: z.int().min(1).optional().describe('Failed checks in a row that take a worker out; default 2'),
});
export type HealthConfig = z.infer<typeof HealthConfig>;

const poolFields = {
  name: z.string().min(1).max(128),
  models: z
    .array(z.string().min(1).max(512))
    .min(1)
    .optional()
    .describe('Names served; default: what the servers list at /v1/models'),
  policy: PolicyConfig.optional().describe('Default power-of-two'),
  timeouts: TimeoutsConfig.optional(),
  retry: RetryConfig.optional(),
  breaker: BreakerConfig.optional(),
  health: z.union([HealthConfig, z.literal(false)]).optional(),
} as const;

/** A pool of servers that each answer whole requests. */
export const OpenAiBackendConfig = z.strictObject({
  type: z.literal('openai'),
  ...poolFields,
  workers: z.array(WorkerConfig).min(1).max(4096),
});
export type OpenAiBackendConfig = z.infer<typeof OpenAiBackendConfig>;

/** vLLM with prefill and decode apart. */
export const VllmBackendConfig = z.strictObject({
  type: z.literal('vllm'),
  ...poolFields,
  connector: z.enum(['nixl', 'mooncake', 'mooncake-legacy']).optional().describe('Default nixl'),
  prefill: z.array(BootstrapWorkerConfig).min(1).max(4096),
  decode: z.array(WorkerConfig).min(1).max(4096),
  cancelGraceSeconds: positive
    .optional()
    .describe('Longest wait for the decode leg to take over KV blocks of a client that left; default 2'),
  prefillGraceSeconds: z
    .number()
    .min(0)
    .optional()
    .describe('How long a prefill may still end whose client left; default 0.5'),
});
export type VllmBackendConfig = z.infer<typeof VllmBackendConfig>;

/** SGLang with prefill and decode apart. */
export const SglangBackendConfig = z.strictObject({
  type: z.literal('sglang'),
  ...poolFields,
  prefill: z.array(BootstrapWorkerConfig).min(1).max(4096),
  decode: z.array(WorkerConfig).min(1).max(4096),
});
export type SglangBackendConfig = z.infer<typeof SglangBackendConfig>;

/** A model in worker threads of this process. */
export const EmbeddedBackendConfig = z.strictObject({
  type: z.literal('embedded'),
  name: z.string().min(1).max(512).optional().describe('Name of the model'),
  model: z.string().min(1).optional().describe('Hugging Face directory; default: the bundled tiny model'),
  precision: z.enum(['f32', 'bf16', 'fp8-weights', 'w8a8']).optional(),
  attention: z
    .enum(['auto', 'naive', 'absorbed'])
    .optional()
    .describe(
      'A fixed form draws the same text after a preemption or restart, to the last bit; default auto',
    ),
  stages: z.enum(['split', 'mixed']).optional(),
  prefillRanks: z.int().min(1).max(64).optional(),
  decodeRanks: z.int().min(1).max(64).optional(),
  prefillTensor: z.int().min(1).max(64).optional().describe('Prefill ranks that share attention heads'),
  decodeTensor: z.int().min(1).max(64).optional().describe('Decode ranks that share attention heads'),
  redundantExperts: z.int().min(0).optional(),
  rebalanceSeconds: z
    .int()
    .min(1)
    .max(86_400)
    .optional()
    .describe('How often experts move between ranks as the load says; default never'),
  maxBatch: z.int().min(1).optional(),
  maxWaiting: z.int().min(0).optional(),
  kvBlocks: z.int().min(1).optional(),
  contextTokens: z.int().min(1).optional(),
});
export type EmbeddedBackendConfig = z.infer<typeof EmbeddedBackendConfig>;

/** Any backend. */
export const BackendConfig = z.discriminatedUnion('type', [
  EmbeddedBackendConfig,
  OpenAiBackendConfig,
  VllmBackendConfig,
  SglangBackendConfig,
]);
export type BackendConfig = z.infer<typeof BackendConfig>;

/** What one key, or everybody together, may use. */
export const LimitsConfig = z.strictObject({
  requestsPerMinute: rate.optional(),
  tokensPerMinute: rate.optional().describe('Prompt and completion tokens'),
  tokensPerDay: z
    .int()
    .min(1)
    .max(Number.MAX_SAFE_INTEGER)
    .optional()
    .describe('Quota, renewed at 00:00 UTC'),
  maxConcurrent: z.int().min(1).max(1_000_000).optional().describe('Requests in flight'),
});
export type LimitsConfig = z.infer<typeof LimitsConfig>;

/** A client's key. The file holds its digest, never the key. */
export const ApiKeyConfig = z.strictObject({
  id: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/)
    .describe('Name in logs and metrics'),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .describe('SHA-256 of the key in hexadecimal; make one with: printf %s KEY | sha256sum'),
  models: z.array(z.string()).optional().describe('Models it may use; default all'),
  weight: positive.optional().describe("Share of the embedded engine's tokens; default 1"),
  limits: LimitsConfig.optional(),
});
export type ApiKeyConfig = z.infer<typeof ApiKeyConfig>;

/** Latency aims that metrics and dashboard compare with. */
export const SloConfig = z.strictObject({
  ttftSeconds: positive.optional().describe('Arrival to first token'),
  tpotSeconds: positive.optional().describe('Between tokens'),
});
export type SloConfig = z.infer<typeof SloConfig>;

/** What a server reports about itself. Nothing of it holds text of prompts or answers. */
export const ObservabilityConfig = z.strictObject({
  accessLog: z
    .union([z.boolean(), z.string().min(1)])
    .optional()
    .describe('A line of JSON for each request: true = standard error, else a file; default false'),
  tracing: z
    .boolean()
    .optional()
    .describe('OpenTelemetry spans, by the SDK that the process registers; default false'),
  dashboard: z.boolean().optional().describe('The page at / and the trace at /debug/trace; default true'),
  adminKeySha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional()
    .describe('SHA-256 of the key that shows dashboard and trace; default: only this machine sees them'),
});
export type ObservabilityConfig = z.infer<typeof ObservabilityConfig>;

/**
 * File of `moestack serve --config`.
 *
 * @example
 * ```ts
 * import { ServeConfig } from '@moestack/serving';
 *
 * const config = ServeConfig.parse({
 *   schemaVersion: 1,
 *   backends: [{ type: 'openai', name: 'pool', workers: [{ url: 'http://10.0.0.7:8000' }] }],
 * });
 * console.log(config.backends[0]?.type);
 * ```
 */
export const ServeConfig = z.strictObject({
  schemaVersion: z.literal(1),
  listen: z
    .strictObject({
      host: z.string().min(1).optional().describe('Default 127.0.0.1'),
      port: z.int().min(0).max(65_535).optional().describe('Default 8000'),
      allowedHosts: z
        .array(z.string().min(1).max(253))
        .max(100)
        .optional()
        .describe('Names besides localhost that Host may have on a loopback address, as behind a proxy'),
      maxBodyBytes: z.int().min(1).optional().describe('Default 8 MiB'),
      maxConnections: z.int().min(1).optional().describe('Most at once; default 4096'),
      drainSeconds: z.number().min(0).optional().describe('Default 30'),
    })
    .optional(),
  backends: z.array(BackendConfig).min(1).max(256),
  auth: z
    .strictObject({ keys: z.array(ApiKeyConfig).min(1).max(100_000) })
    .optional()
    .describe('Without it, everybody who reaches the server may use it'),
  limits: LimitsConfig.optional().describe('Over all clients together'),
  guardrail: z
    .looseObject({ name: z.string().min(1) })
    .optional()
    .describe('A policy of @moestack/detect, checked on prompts and answers'),
  slo: SloConfig.optional(),
  observability: ObservabilityConfig.optional(),
});
export type ServeConfig = z.infer<typeof ServeConfig>;
