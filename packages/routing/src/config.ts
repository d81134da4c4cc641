import { badConfig, requireExactLength, requireInteger, requireOneOf } from './operands.js';
import type { GroupScore, ResolvedRouterConfig, RouterConfig, RoutingTopology } from './types.js';

const SCORINGS: readonly string[] = ['sigmoid', 'softmax', 'sqrtSoftplus'];
const MAX_EXPERTS = 65_536;
const KEYS: ReadonlySet<string> = new Set([
  'experts',
  'topK',
  'groups',
  'topKGroups',
  'topology',
  'scoring',
  'softmaxOrder',
  'groupScore',
  'normalize',
  'routedScalingFactor',
  'precision',
  'compat',
]);

/** Fills in defaults and refuses configurations that no gate can run. */
export function resolveConfig(config: RouterConfig): ResolvedRouterConfig {
  for (const key of Object.keys(config)) {
    if (!KEYS.has(key))
      throw badConfig(`expected a known option, got ${key}`, key, `pass only ${[...KEYS].join(', ')}`);
  }
  const experts = requireInteger('experts', config.experts, 1, MAX_EXPERTS);
  const topK = requireInteger('topK', config.topK, 1, experts);
  const { topology } = config;
  const { groups, topKGroups, smallest } =
    topology === undefined ? consecutiveGroups(config, experts) : nodeGroups(config, topology, experts);
  let eligible = 0;
  for (let l = 0; l < topKGroups; l++) eligible += smallest[l]!;
  if (topK > eligible) {
    throw badConfig(
      `expected topK <= topKGroups * experts / groups = ${eligible}, got ${topK}`,
      topK,
      'keep more groups, use fewer groups, or choose fewer experts per token',
    );
  }
  requireOneOf('scoring', config.scoring, SCORINGS);
  const softmaxOrder = config.softmaxOrder ?? 'before';
  requireOneOf('softmaxOrder', softmaxOrder, ['before', 'after']);
  if (softmaxOrder === 'after' && config.scoring !== 'softmax') {
    throw badConfig(
      `expected scoring softmax with softmaxOrder after, got ${config.scoring}`,
      config.scoring,
      'leave softmaxOrder out',
    );
  }
  const precision = config.precision ?? 'f32';
  requireOneOf('precision', precision, ['f32', 'bf16']);
  const compat = config.compat ?? 'canonical';
  requireOneOf('compat', compat, ['canonical', 'hf-zero-mask']);
  const groupScore =
    config.groupScore ??
    (topology === undefined ? undefined : nodeGroupScore(topK, topology.maxNodesPerToken));
  if (groupScore !== undefined) requireGroupSize(groupScore, smallest[0]!, groups);
  const normalize = config.normalize ?? config.scoring !== 'softmax';
  if (typeof normalize !== 'boolean') {
    throw badConfig(
      `expected a boolean for normalize, got ${String(normalize)}`,
      normalize,
      'pass true or false',
    );
  }
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
    softmaxOrder,
    normalize,
    routedScalingFactor,
    precision,
    compat,
    ...(groupScore === undefined ? {} : { groupScore }),
    ...(topology === undefined ? {} : { topology }),
  };
}

/** The group score of node-limited routing: the sum of a node's top floor(K / M) biased scores, for M nodes per token. */
export function nodeGroupScore(topK: number, maxNodesPerToken: number): GroupScore {
  const terms = Math.floor(topK / maxNodesPerToken);
  if (!(terms >= 1)) {
    throw badConfig(
      `expected topK >= maxNodesPerToken (${maxNodesPerToken}) for a sum of topK / maxNodesPerToken scores, got ${topK}`,
      topK,
      "allow fewer nodes, or pass groupScore: 'max'",
    );
  }
  return terms === 1 ? 'max' : `top${terms}Sum`;
}

/** How many of a group's best scores are summed. */
export function groupScoreTerms(groupScore: GroupScore): number {
  return groupScore === 'max' ? 1 : Number(groupScore.slice(3, -3));
}

/** A sum of the r best scores needs r experts in every group. */
export function requireGroupSize(groupScore: GroupScore, smallest: number, groups: number): void {
  if (groupScore !== 'max' && !/^top[1-9][0-9]{0,4}Sum$/.test(String(groupScore))) {
    throw badConfig(
      `expected one of max, top2Sum for groupScore, got ${String(groupScore)}`,
      groupScore,
      'pass max or top2Sum (or top3Sum, ...)',
    );
  }
  const terms = groupScoreTerms(groupScore);
  if (groups > 1 && smallest < terms) {
    throw badConfig(
      `expected at least ${terms} experts per group for groupScore ${groupScore}, got ${smallest}`,
      groups,
      "use fewer groups, or pass groupScore: 'max'",
    );
  }
}

interface Groups {
  groups: number;
  topKGroups: number;
  /** Group sizes, ascending. */
  smallest: readonly number[];
}

function consecutiveGroups(config: RouterConfig, experts: number): Groups {
  const groups = requireInteger('groups', config.groups ?? 1, 1, experts);
  if (experts % groups !== 0) {
    throw badConfig(
      `expected groups to divide experts (${experts}), got ${groups}`,
      groups,
      'choose a number of groups that divides the number of experts',
    );
  }
  const topKGroups = requireInteger('topKGroups', config.topKGroups ?? groups, 1, groups);
  return { groups, topKGroups, smallest: new Array<number>(groups).fill(experts / groups) };
}

function nodeGroups(config: RouterConfig, topology: RoutingTopology, experts: number): Groups {
  if (config.groups !== undefined || config.topKGroups !== undefined) {
    throw badConfig(
      'expected either groups or a topology, got both',
      config.groups,
      'leave groups and topKGroups out',
    );
  }
  const groups = requireInteger('nodes', topology.nodes, 1, experts);
  const topKGroups = requireInteger('maxNodesPerToken', topology.maxNodesPerToken, 1, groups);
  const { nodeOfExpert } = topology;
  if (nodeOfExpert === undefined) return consecutiveGroups({ ...config, groups, topKGroups }, experts);
  requireExactLength('nodeOfExpert', nodeOfExpert.length, experts, '[experts]');
  const sizes = new Array<number>(groups).fill(0);
  for (let e = 0; e < experts; e++)
    sizes[requireInteger('nodeOfExpert', nodeOfExpert[e]!, 0, groups - 1)]! += 1;
  sizes.sort((a, b) => a - b);
  if (sizes[0] === 0) {
    throw badConfig(
      'expected an expert on every node, got none on one',
      0,
      'count only nodes that hold experts',
    );
  }
  return { groups, topKGroups, smallest: sizes };
}
