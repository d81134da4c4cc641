import type { Policy } from '../policies/policy.js';
import { leastLoadedPolicy, powerOfTwo } from '../policies/simple-policies.js';
import type { WorkerOptions } from '../upstream/worker.js';
import { WorkerPool } from '../upstream/worker-pool.js';
import { PoolBackend, type PoolBackendOptions } from './pool-backend.js';

/** Options of pools whose prefill and decode run on different servers. */
export interface PairBackendOptions extends PoolBackendOptions {
  readonly prefill: readonly WorkerOptions[];
  readonly decode: readonly WorkerOptions[];
  /** Chooses the prefill server; default power of two. The decode server is the least loaded. */
  readonly policy?: Policy;
}

/** Prefill servers that are chosen by policy, and decode servers of which the least loaded answers. */
export abstract class PairBackend extends PoolBackend {
  protected readonly prefill: WorkerPool;
  protected readonly decode: WorkerPool;

  constructor(options: PairBackendOptions) {
    super(options);
    const common = { ...options, backend: options.name, observer: this.observer, clock: this.clock };
    this.prefill = new WorkerPool({
      ...common,
      role: 'prefill',
      workers: options.prefill,
      policy: options.policy ?? powerOfTwo(this.random),
    });
    this.decode = new WorkerPool({
      ...common,
      role: 'decode',
      workers: options.decode,
      policy: leastLoadedPolicy(),
    });
  }

  protected get pools(): readonly [WorkerPool, WorkerPool] {
    return [this.prefill, this.decode];
  }
}
