import { eplb } from './eplb.js';
import { badConfig, checkDeployment, checkLoad } from './operands.js';
import { optimal } from './optimal.js';
import type { Deployment, Load, Plan, Policy, Ties } from './types.js';

/** Options of {@link rebalance}. */
export interface RebalanceOptions {
  /** Default `optimal`. */
  policy?: Policy;
  /** Order of equal keys in `eplb`; default `torch`. */
  ties?: Ties;
}

/** Plans where every expert and replica lives. */
export function rebalance(load: Load, deployment: Deployment, options: RebalanceOptions = {}): Plan {
  const { policy = 'optimal', ties = 'torch' } = options;
  checkLoad(load);
  const sizes = checkDeployment(load.layers, load.experts, deployment);
  if (ties !== 'torch' && ties !== 'stable') {
    throw badConfig(`expected torch or stable for ties, got ${String(ties)}`, ties, 'use torch or stable');
  }
  if (policy === 'eplb') return eplb(load, deployment, sizes, ties);
  if (policy === 'optimal') return optimal(load, deployment, sizes);
  throw badConfig(`unknown policy ${String(policy)}`, policy, 'use eplb, optimal or incremental');
}
