import type { Clock } from '../clock.js';
import { type ApiKey, ApiKeys, type Limits, requireModel } from './api-keys.js';
import { type Lease, Limiter } from './limiter.js';

/** Options of {@link Admission}. */
export interface AdmissionOptions {
  /** Without keys, everybody is let in. */
  readonly keys?: readonly ApiKey[];
  /** Over all clients together. */
  readonly limits?: Limits;
  readonly clock: Clock;
}

/** Who asks, and what they may still use. */
export interface Visitor {
  readonly key: ApiKey | undefined;
  /** Whether the tokens of an answer must be known. */
  readonly countsTokens: boolean;
  /**
   * @throws {@link ServingError} 403 or 429; nothing is counted then.
   */
  admit(model: string, promptTokens: number): Lease;
}

/** Keys and limits at the door of a gateway. */
export class Admission {
  readonly #keys: ApiKeys | undefined;
  readonly #limiters = new Map<string, Limiter>();
  readonly #shared: Limiter | undefined;

  constructor({ keys, limits, clock }: AdmissionOptions) {
    if (keys !== undefined) {
      this.#keys = new ApiKeys(keys);
      for (const key of keys) {
        if (key.limits === undefined) continue;
        this.#limiters.set(key.id, new Limiter(`the API key ${key.id}`, key.limits, clock));
      }
    }
    if (limits !== undefined) this.#shared = new Limiter('this server', limits, clock);
  }

  /** @throws {@link ServingError} 401. */
  visitor(authorization: string | undefined): Visitor {
    const key = this.#keys?.authenticate(authorization);
    const own = key === undefined ? undefined : this.#limiters.get(key.id);
    const limiters = [own, this.#shared].filter((limiter) => limiter !== undefined);
    return {
      key,
      countsTokens: limiters.some((limiter) => limiter.countsTokens),
      admit(model, promptTokens) {
        requireModel(key, model);
        return admitAll(limiters, promptTokens);
      },
    };
  }
}

function admitAll(limiters: readonly Limiter[], promptTokens: number): Lease {
  for (const limiter of limiters) limiter.check(promptTokens);
  const leases = limiters.map((limiter) => limiter.take(promptTokens));
  return {
    settle(used) {
      for (const lease of leases) lease.settle(used);
    },
  };
}
