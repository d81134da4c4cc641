import { badConfig, requireInteger, requireOneOf } from './operands.js';
import type { Router, RouterConfig } from './types.js';

const SCORINGS: readonly string[] = ['sigmoid', 'softmax', 'sqrtSoftplus'];
const GROUP_SCORES: readonly string[] = ['max', 'top2Sum'];
const PRECISIONS: readonly string[] = ['f32', 'bf16'];
const MAX_EXPERTS = 65_536;

/** Fills in defaults and refuses configurations that no gate can run. */
export function resolveConfig(config: RouterConfig): Router['config'] {
  const experts = requireInteger('experts', config.experts, 1, MAX_EXPERTS);
  const topK = requireInteger('topK', config.topK, 1, experts);
  const groups = requireInteger('groups', config.groups ?? 1, 1, experts);
  if (experts % groups !== 0) {
    throw badConfig(
      `expected groups to divide experts (${experts}), got ${groups}`,
      groups,
      'choose a number of groups that divides the number of experts',
    );
  }
  const topKGroups = requireInteger('topKGroups', config.topKGroups ?? groups, 1, groups);
  const eligible = (topKGroups * experts) / groups;
  if (topK > eligible) {
    throw badConfig(
      `expected topK <= topKGroups * experts / groups = ${eligible}, got ${topK}`,
      topK,
      'keep more groups, use fewer groups, or choose fewer experts per token',
    );
  }
  requireOneOf('scoring', config.scoring, SCORINGS);
  if (config.groupScore !== undefined) requireOneOf('groupScore', config.groupScore, GROUP_SCORES);
  const precision = config.precision ?? 'f32';
  requireOneOf('precision', precision, PRECISIONS);
  if (config.groupScore === 'top2Sum') requireGroupPairs(experts, groups);
  const routedScalingFactor = config.routedScalingFactor ?? 1;
  if (!(Number.isFinite(routedScalingFactor) && routedScalingFactor > 0)) {
    throw badConfig(
      `expected a finite number > 0 for routedScalingFactor, got ${routedScalingFactor}`,
      routedScalingFactor,
      'pass a positive factor, 1 for none',
    );
  }
  return {
    experts,
    topK,
    groups,
    topKGroups,
    scoring: config.scoring,
    normalize: config.normalize ?? config.scoring !== 'softmax',
    routedScalingFactor,
    precision,
    ...(config.groupScore === undefined ? {} : { groupScore: config.groupScore }),
  };
}

/** A sum of the two best scores needs two experts in every group. */
export function requireGroupPairs(experts: number, groups: number): void {
  if (groups > 1 && experts / groups < 2) {
    throw badConfig(
      `expected at least 2 experts per group for groupScore top2Sum, got ${experts / groups}`,
      groups,
      "use fewer groups, or pass groupScore: 'max'",
    );
  }
}
