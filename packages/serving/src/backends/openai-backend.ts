import type { Policy } from '../policies/policy.js';
import { powerOfTwo } from '../policies/simple-policies.js';
import { Leg } from '../upstream/leg.js';
import type { WorkerOptions } from '../upstream/worker.js';
import { WorkerPool } from '../upstream/worker-pool.js';
import {
  legHeaders,
  PoolBackend,
  type PoolBackendOptions,
  type RequestScope,
  whenAborted,
} from './pool-backend.js';
import { asServingError, bodyAnswer, errorAnswer, isSuccess } from './read-answer.js';
import type { Attempt } from './retry.js';

/** Options of {@link OpenAiBackend}. */
export interface OpenAiBackendOptions extends PoolBackendOptions {
  readonly workers: readonly WorkerOptions[];
  /** Default: power of two. */
  readonly policy?: Policy;
}

/**
 * Servers that each answer whole requests: vLLM, SGLang, llama.cpp, another gateway, anything that speaks the OpenAI API.
 *
 * @example
 * ```ts
 * import { createGateway, OpenAiBackend } from '@moestack/serving';
 *
 * const backend = new OpenAiBackend({ name: 'pool', workers: [{ url: 'http://127.0.0.1:8001' }] });
 * console.log(createGateway({ backend }).requestsInFlight);
 * await backend.close();
 * ```
 */
export class OpenAiBackend extends PoolBackend {
  readonly #pool: WorkerPool;

  constructor(options: OpenAiBackendOptions) {
    super(options);
    this.#pool = new WorkerPool({
      ...options,
      backend: options.name,
      role: '',
      policy: options.policy ?? powerOfTwo(this.random),
      observer: this.observer,
      clock: this.clock,
    });
  }

  protected get pools(): readonly [WorkerPool] {
    return [this.#pool];
  }

  protected async attempt(scope: RequestScope, attempt: number): Promise<Attempt> {
    const { request, options } = scope;
    const worker = this.pick(scope, this.#pool, 'whole', attempt);
    const leg = Leg.send(worker, {
      path: request.path,
      body: request.body.text,
      headers: legHeaders(request, request.requestId),
    });
    const unlink = whenAborted(options.signal, () => leg.abort(options.signal.reason));
    const other = { pool: this.#pool, role: 'whole' } as const;
    try {
      const head = await leg.head;
      if (isSuccess(head)) return { type: 'answer', answer: bodyAnswer(head, leg) };
      const result = await errorAnswer(leg, head);
      if (options.signal.aborted) throw options.signal.reason;
      return this.failed(scope, worker, result, other);
    } catch (error) {
      if (options.signal.aborted) throw options.signal.reason;
      return this.failed(scope, worker, asServingError(error, worker.name), other);
    } finally {
      unlink();
    }
  }
}
