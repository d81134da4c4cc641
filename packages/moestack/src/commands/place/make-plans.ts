import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Deployment, type Plan, type Policy, rebalance } from '@moestack/placement';
import { type EvaluatePlanOptions, evaluatePlan, type NamedEvaluation } from '@moestack/placement/report';
import { AbortedError } from '@moestack/schemas';
import { ProgressDisplay } from '../../progress-display.js';
import type { Reporter } from '../../reporter.js';
import { type DeploymentOptions, deploymentOf } from './deployment.js';
import { type LoadInput, previousPlan, readLoad, readPreviousSlots } from './load-input.js';

/** Options that `plan` and `compare` share. */
export interface PlanningOptions extends DeploymentOptions {
  readonly previous?: string;
  readonly topK?: number;
  readonly topKGroups?: number;
  readonly firstLayer?: number;
  readonly modelLayers?: number;
  readonly html?: string;
}

/** Recorded load, the machine, and plans for them. */
export interface MadePlans {
  readonly input: LoadInput;
  readonly deployment: Deployment;
  /** The plan in force and its figures, then one of each policy. */
  readonly before: NamedEvaluation;
  readonly plans: readonly NamedEvaluation[];
}

/** Reads load and makes a plan by each policy; `none` keeps the plan in force. */
export async function makePlans(
  files: readonly string[],
  { policies, ...options }: PlanningOptions & { policies: readonly (Policy | 'none')[] },
  reporter: Reporter,
  signal: AbortSignal,
): Promise<MadePlans> {
  const input = await readLoad(files, options.firstLayer);
  const { load } = input;
  const slots = options.previous === undefined ? undefined : await readPreviousSlots(options.previous, input);
  const deployment = deploymentOf(options, load.experts, slots?.replicas);
  const previous = previousPlan(slots, input, deployment);
  const evaluation = evaluationOptions(options, previous);
  const before = { name: 'in force', evaluation: evaluatePlan(load, previous, evaluation) };
  const progress = new ProgressDisplay(reporter, {
    label: 'planning',
    total: (total) => `${total} plans`,
    lines: policies.length,
  });
  const plans: NamedEvaluation[] = [];
  try {
    for (const [done, policy] of policies.entries()) {
      // A turn of the event loop lets signals and the display through.
      await nextTurn();
      if (signal.aborted) throw new AbortedError('planning', signal.reason);
      const made = policy === 'none' ? previous : makePlan(policy);
      plans.push({ name: policy, evaluation: evaluatePlan(load, made, evaluation) });
      progress.update(done + 1, policies.length);
    }
  } finally {
    progress.stop();
  }
  return { input, deployment, before, plans };

  function makePlan(policy: Policy): Plan {
    const { localityBudget } = options;
    return rebalance(load, deployment, {
      policy,
      // A plan that the command line did not name is no reason to keep replicas where they are.
      ...(options.previous === undefined && policy === 'optimal' ? {} : { previous }),
      ...(localityBudget === undefined ? {} : { localityBudget }),
    });
  }
}

function evaluationOptions(
  { expertBytes, topK, topKGroups }: PlanningOptions,
  previous: Plan,
): EvaluatePlanOptions {
  return {
    previous,
    ...(expertBytes === undefined ? {} : { expertBytes }),
    ...(topK === undefined ? {} : { topK }),
    ...(topKGroups === undefined ? {} : { topKGroups }),
  };
}

/** What was read and planned for, in a line. */
export function describePlans({ input, deployment }: MadePlans): string {
  const { load, layerIds, source } = input;
  const { gpus, nodes, replicas } = deployment;
  return (
    `${source}: ${load.layers} layers with tokens (${layerIds[0]} to ${layerIds.at(-1)}), ${load.experts} experts; ` +
    `${replicas} replicas on ${gpus} GPUs of ${nodes} ${nodes === 1 ? 'node' : 'nodes'}`
  );
}
