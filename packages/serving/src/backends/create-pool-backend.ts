import { randomInt } from 'node:crypto';
import type {
  BootstrapWorkerConfig,
  OpenAiBackendConfig,
  SglangBackendConfig,
  VllmBackendConfig,
  WorkerConfig,
} from '../config.js';
import { ServingError } from '../errors.js';
import { createPolicy } from '../policies/create-policy.js';
import { type Random, seededRandom } from '../random.js';
import type { WorkerOptions } from '../upstream/worker.js';
import { OpenAiBackend } from './openai-backend.js';
import type { PoolBackend, PoolBackendOptions } from './pool-backend.js';
import { SglangBackend } from './sglang-backend.js';
import { VllmBackend } from './vllm-backend.js';

/** What {@link createPoolBackend} takes besides the configuration. */
export interface CreatePoolOptions {
  /** Where `apiKeyEnv` is looked up; default: nothing. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly random?: Random;
}

/**
 * The pool that a configuration describes.
 *
 * @throws {@link ServingError} for an address or a variable that cannot be used.
 */
export function createPoolBackend(
  config: OpenAiBackendConfig | VllmBackendConfig | SglangBackendConfig,
  options: CreatePoolOptions = {},
): PoolBackend {
  const random = options.random ?? seededRandom(randomInt(2 ** 32));
  const workers = (list: readonly (WorkerConfig | BootstrapWorkerConfig)[]) =>
    list.map((worker) => toWorker(worker, options.env ?? {}));
  const common = {
    ...present({
      name: config.name,
      models: config.models,
      timeouts: config.timeouts,
      retry: config.retry,
      breaker: config.breaker,
      health: config.health,
    }),
    random,
    policy: createPolicy(config.policy, random),
  } as PoolBackendOptions & { policy: ReturnType<typeof createPolicy> };
  if (config.type === 'openai') return new OpenAiBackend({ ...common, workers: workers(config.workers) });
  const legs = { prefill: workers(config.prefill), decode: workers(config.decode) };
  if (config.type === 'sglang') return new SglangBackend({ ...common, ...legs });
  const { connector, cancelGraceSeconds, prefillGraceSeconds } = config;
  return new VllmBackend({
    ...common,
    ...legs,
    ...(connector !== undefined && { connector }),
    ...(cancelGraceSeconds !== undefined && { cancelGraceSeconds }),
    ...(prefillGraceSeconds !== undefined && { prefillGraceSeconds }),
  });
}

function toWorker(
  { apiKeyEnv, apiKey, ...worker }: WorkerConfig | BootstrapWorkerConfig,
  env: Readonly<Record<string, string | undefined>>,
): WorkerOptions {
  const key = apiKeyEnv === undefined ? apiKey : env[apiKeyEnv];
  if (apiKeyEnv !== undefined && (key === undefined || key === '')) {
    throw new ServingError({
      code: 'serving/no-key',
      message: `the environment variable ${apiKeyEnv} holds no key for ${worker.name ?? worker.url}`,
      remedy: `set ${apiKeyEnv}, or leave apiKeyEnv out`,
      value: apiKeyEnv,
    });
  }
  return present({ ...worker, apiKey: key }) as unknown as WorkerOptions;
}

/** Without members that are undefined, at any depth. */
function present<T extends object>(value: T): T {
  const entries = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(
    entries.map(([name, member]) => [
      name,
      typeof member === 'object' && member !== null && !Array.isArray(member)
        ? present(member as object)
        : member,
    ]),
  ) as T;
}
