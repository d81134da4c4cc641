import type { PolicyConfig } from '../config.js';
import type { Random } from '../random.js';
import { cacheAware, sessionAffinity } from './affinity-policies.js';
import type { Policy } from './policy.js';
import { leastLoadedPolicy, powerOfTwo, roundRobin } from './simple-policies.js';

/** The policy that a configuration names; default `power-of-two`. */
export function createPolicy(config: PolicyConfig | undefined, random: Random): Policy {
  switch (config?.type) {
    case 'round-robin':
      return roundRobin();
    case 'least-loaded':
      return leastLoadedPolicy();
    case 'cache-aware':
      return cacheAware(defined(config));
    case 'session-affinity':
      return sessionAffinity(powerOfTwo(random), defined(config));
    default:
      return powerOfTwo(random);
  }
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** zod's optional fields may hold undefined; ours may only be absent. */
function defined<T extends object>(config: T): Partial<Defined<T>> {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined)) as Partial<
    Defined<T>
  >;
}
