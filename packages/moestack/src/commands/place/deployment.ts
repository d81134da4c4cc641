import type { Deployment } from '@moestack/placement';
import { CliError } from '../../errors.js';

/** The machine, as the command line names it. */
export interface DeploymentOptions {
  readonly gpus: number;
  readonly nodes: number;
  readonly redundant?: number;
  readonly replicas?: number;
  readonly groups?: number;
  readonly expertBytes?: number;
  readonly localityBudget?: number;
}

/**
 * The deployment for a number of experts.
 *
 * @param slots - replicas in all where the command line does not say.
 */
export function deploymentOf(options: DeploymentOptions, experts: number, slots = experts): Deployment {
  const { gpus, nodes, redundant, groups } = options;
  if (redundant !== undefined && options.replicas !== undefined) {
    throw new CliError({
      code: 'cli/bad-options',
      message: `expected --redundant or --replicas, got both: ${redundant} and ${options.replicas}`,
      remedy: 'leave one of them out',
    });
  }
  const replicas = options.replicas ?? (redundant === undefined ? slots : experts + redundant);
  return { nodes, gpus, replicas, ...(groups === undefined ? {} : { groups }) };
}
