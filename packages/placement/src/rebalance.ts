import { eplb } from './eplb.js';
import { incremental } from './incremental.js';
import { badConfig, badShape, checkDeployment, checkLoad, checkPlan, type Sizes } from './operands.js';
import { optimal } from './optimal.js';
import type { Deployment, Load, Plan, Policy, Ties } from './types.js';

/** Options of {@link rebalance}. */
export interface RebalanceOptions {
  /** Default `optimal`. */
  policy?: Policy;
  /** Order of equal keys in `eplb`; default `torch`. */
  ties?: Ties;
  /** The plan in force: `incremental` starts from it, `optimal` keeps replicas where they are as far as it can. */
  previous?: Plan;
  /**
   * How far expected copies between nodes may exceed those of the previous plan (without one: of the most local plan), as a
   * fraction. 0 with a previous plan changes nothing in which nodes a token reaches. Default 0 where the groups divide
   * over the nodes, else Infinity.
   */
  localityBudget?: number;
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
  const previous = checkPrevious(options.previous, load, sizes);
  const localityBudget = options.localityBudget ?? defaultLocalityBudget(sizes);
  if (!(localityBudget >= 0)) {
    throw badConfig(
      `expected a localityBudget of at least 0, got ${localityBudget}`,
      String(localityBudget),
      'pass the allowed growth as a fraction, or Infinity',
    );
  }
  if (policy === 'optimal') return optimal(load, deployment, sizes, { previous, localityBudget });
  if (policy === 'incremental') {
    if (previous !== undefined) return incremental(load, deployment, sizes, previous, localityBudget);
    return optimal(load, deployment, sizes, { previous, localityBudget });
  }
  throw badConfig(`unknown policy ${String(policy)}`, policy, 'use eplb, optimal or incremental');
}

/** Group-limited routing pays for locality only where whole groups fit on nodes. */
function defaultLocalityBudget(sizes: Sizes): number {
  return sizes.hierarchical && sizes.nodes > 1 ? 0 : Number.POSITIVE_INFINITY;
}

function checkPrevious(previous: Plan | undefined, load: Load, sizes: Sizes): Plan | undefined {
  if (previous === undefined) return undefined;
  const { layers, gpus, replicas, nodes } = checkPlan(previous, load.experts);
  if (layers !== load.layers || gpus !== sizes.gpus || replicas !== sizes.replicas || nodes !== sizes.nodes) {
    throw badShape(
      'expected a previous plan of the same layers and deployment',
      previous.deployment,
      'use adaptPlan for a changed set of GPUs',
    );
  }
  return previous;
}
