import { RoutingError } from '../errors.js';
import { badConfig, requireIds, requireInteger, requireLength, requireTokens } from '../operands.js';

/** Where physical expert slots live: rank r owns slots r*S .. r*S+S-1, node n owns ranks n*G .. n*G+G-1. */
export interface DispatchTopology {
  /** Physical expert slots over all ranks; a multiple of `ranks`. */
  slots: number;
  /** Ranks; a multiple of `nodes`. */
  ranks: number;
  /** Nodes. Default 1. */
  nodes?: number;
}

/**
 * Who gets which token of one source rank: plain arrays that can be posted to another thread.
 *
 * Arrays of a plan made by {@link allocateDispatchPlan} are as long as its largest batch needs; the first `tokens` rows count.
 */
export interface DispatchPlan {
  readonly topology: Readonly<Required<DispatchTopology>>;
  readonly topK: number;
  /** Largest batch that fits. */
  readonly maxTokens: number;
  /** Tokens of this batch, T. */
  tokens: number;
  /** Selections that are not -1. */
  assignments: number;
  /** Tokens with at least one selection. */
  routedTokens: number;
  /** Distinct (token, rank) pairs: the rows that a dispatch to ranks sends. */
  rankPairs: number;
  /** Distinct (token, node) pairs: the rows that a node-deduplicated dispatch sends between nodes. */
  nodePairs: number;
  /** Most nodes that any token touches. */
  maxNodesPerToken: number;
  /** Selections per slot [slots]. */
  readonly assignmentsPerSlot: Int32Array;
  /** Selections per rank [R]. */
  readonly assignmentsPerRank: Int32Array;
  /** Distinct tokens per rank [R]. */
  readonly tokensPerRank: Int32Array;
  /** Distinct tokens per node [N]. */
  readonly tokensPerNode: Int32Array;
  /** 1 where the token goes to the rank [T, R]. */
  readonly isTokenInRank: Uint8Array;
  /** 1 where the token goes to the node [T, N]. */
  readonly isTokenInNode: Uint8Array;
  /** Start of each rank's tokens in `rankTokens` [R + 1]. */
  readonly rankOffsets: Int32Array;
  /** Tokens of rank 0, of rank 1 ..., each ascending [rankPairs]. */
  readonly rankTokens: Int32Array;
  /** Start of each node's tokens in `nodeTokens` [N + 1]. */
  readonly nodeOffsets: Int32Array;
  /** Tokens of node 0, of node 1 ..., each ascending [nodePairs]. */
  readonly nodeTokens: Int32Array;
}

/** Options of {@link planDispatch}. */
export interface DispatchOptions {
  /** Selections per token, K. */
  topK: number;
  topology: DispatchTopology;
  /** Refuse a batch with a token that touches more nodes than this (`routing/node-limit`). */
  maxNodes?: number;
}

const MAX_SLOTS = 1 << 20;
const NO_LIMIT: { maxNodes?: number } = {};
const MAX_ELEMENTS = 2 ** 31 - 1;

/**
 * Lays out one dispatch from physical expert ids, in fresh arrays.
 *
 * @param physical - chosen slots [T, K], -1 = none.
 * @param tokens - T.
 *
 * @example
 * ```ts
 * import { planDispatch } from '@moestack/routing';
 *
 * const topology = { slots: 8, ranks: 4, nodes: 2 };
 * const plan = planDispatch(Int32Array.of(0, 1, 2, 7), 2, { topK: 2, topology });
 * console.log(plan.tokensPerRank, plan.tokensPerNode); // [1, 1, 0, 1] and [2, 1]
 * ```
 */
export function planDispatch(physical: Int32Array, tokens: number, options: DispatchOptions): DispatchPlan {
  requireTokens(tokens);
  const { topology, topK } = options;
  // Before the allocation, so that a wild token count is a typed error.
  requireLength('physical', physical.length, tokens * topK, '[tokens, topK]');
  const plan = allocateDispatchPlan({ topology, topK, maxTokens: tokens });
  planDispatchInto(
    physical,
    tokens,
    plan,
    options.maxNodes === undefined ? {} : { maxNodes: options.maxNodes },
  );
  return plan;
}

/** An empty plan with room for batches of up to `maxTokens`, for {@link planDispatchInto}. */
export function allocateDispatchPlan(options: {
  topology: DispatchTopology;
  topK: number;
  maxTokens: number;
}): DispatchPlan {
  const { slots, ranks, nodes = 1 } = options.topology;
  requireInteger('slots', slots, 1, MAX_SLOTS);
  requireInteger('ranks', ranks, 1, slots);
  requireInteger('nodes', nodes, 1, ranks);
  const topK = requireInteger('topK', options.topK, 1, slots);
  if (slots % ranks !== 0) {
    throw badConfig(
      `expected slots to be a multiple of ranks (${ranks}), got ${slots}`,
      slots,
      'give every rank as many slots',
    );
  }
  if (ranks % nodes !== 0) {
    throw badConfig(
      `expected ranks to be a multiple of nodes (${nodes}), got ${ranks}`,
      ranks,
      'give every node as many ranks',
    );
  }
  const maxTokens = requireInteger(
    'maxTokens',
    options.maxTokens,
    0,
    Math.floor(MAX_ELEMENTS / Math.max(ranks, topK)),
  );
  return {
    topology: { slots, ranks, nodes },
    topK,
    maxTokens,
    tokens: 0,
    assignments: 0,
    routedTokens: 0,
    rankPairs: 0,
    nodePairs: 0,
    maxNodesPerToken: 0,
    assignmentsPerSlot: new Int32Array(slots),
    assignmentsPerRank: new Int32Array(ranks),
    tokensPerRank: new Int32Array(ranks),
    tokensPerNode: new Int32Array(nodes),
    isTokenInRank: new Uint8Array(maxTokens * ranks),
    isTokenInNode: new Uint8Array(maxTokens * nodes),
    rankOffsets: new Int32Array(ranks + 1),
    rankTokens: new Int32Array(maxTokens * Math.min(topK, ranks)),
    nodeOffsets: new Int32Array(nodes + 1),
    nodeTokens: new Int32Array(maxTokens * Math.min(topK, nodes)),
  };
}

/** {@link planDispatch} into a plan of {@link allocateDispatchPlan}, without allocation; nothing is written on an error. */
export function planDispatchInto(
  physical: Int32Array,
  tokens: number,
  plan: DispatchPlan,
  options: { maxNodes?: number } = NO_LIMIT,
): void {
  const { topology, topK } = plan;
  const { slots, ranks, nodes } = topology;
  requireTokens(tokens);
  if (tokens > plan.maxTokens) {
    throw new RoutingError({
      code: 'routing/bad-shape',
      message: `expected at most ${plan.maxTokens} tokens, got ${tokens}`,
      value: tokens,
      remedy: 'allocate the plan for the largest batch',
    });
  }
  requireLength('physical', physical.length, tokens * topK, '[tokens, topK]');
  requireIds('physical', physical, tokens * topK, slots);
  if (options.maxNodes !== undefined)
    requireNodeLimit(physical, tokens, topK, slots / nodes, options.maxNodes);
  plan.tokens = tokens;
  markTokens(physical, plan);
  listTokens(plan.isTokenInRank, tokens, ranks, plan.tokensPerRank, plan.rankOffsets, plan.rankTokens);
  listTokens(plan.isTokenInNode, tokens, nodes, plan.tokensPerNode, plan.nodeOffsets, plan.nodeTokens);
}

/** Mean distinct ranks and nodes per routed token; 0 for an empty plan. */
export function meanFanOut(plan: DispatchPlan): { ranks: number; nodes: number } {
  const { routedTokens } = plan;
  if (routedTokens === 0) return { ranks: 0, nodes: 0 };
  return { ranks: plan.rankPairs / routedTokens, nodes: plan.nodePairs / routedTokens };
}

function markTokens(physical: Int32Array, plan: DispatchPlan): void {
  const { tokens, topK, isTokenInRank, isTokenInNode } = plan;
  const { slots, ranks, nodes } = plan.topology;
  const slotsPerRank = slots / ranks;
  const ranksPerNode = ranks / nodes;
  plan.assignmentsPerSlot.fill(0);
  plan.assignmentsPerRank.fill(0);
  plan.tokensPerRank.fill(0);
  plan.tokensPerNode.fill(0);
  isTokenInRank.fill(0, 0, tokens * ranks);
  isTokenInNode.fill(0, 0, tokens * nodes);
  let assignments = 0;
  let routedTokens = 0;
  let rankPairs = 0;
  let nodePairs = 0;
  let maxNodesPerToken = 0;
  for (let token = 0; token < tokens; token++) {
    const before = nodePairs;
    for (let i = token * topK, end = i + topK; i < end; i++) {
      const slot = physical[i]!;
      if (slot < 0) continue;
      const rank = (slot / slotsPerRank) | 0;
      assignments++;
      plan.assignmentsPerSlot[slot]! += 1;
      plan.assignmentsPerRank[rank]! += 1;
      if (isTokenInRank[token * ranks + rank] === 1) continue;
      isTokenInRank[token * ranks + rank] = 1;
      plan.tokensPerRank[rank]! += 1;
      rankPairs++;
      const node = (rank / ranksPerNode) | 0;
      if (isTokenInNode[token * nodes + node] === 1) continue;
      isTokenInNode[token * nodes + node] = 1;
      plan.tokensPerNode[node]! += 1;
      nodePairs++;
    }
    const touched = nodePairs - before;
    if (touched > 0) routedTokens++;
    if (touched > maxNodesPerToken) maxNodesPerToken = touched;
  }
  plan.assignments = assignments;
  plan.routedTokens = routedTokens;
  plan.rankPairs = rankPairs;
  plan.nodePairs = nodePairs;
  plan.maxNodesPerToken = maxNodesPerToken;
}

/** Turns a [tokens, places] matrix of marks into one ascending token list per place. */
function listTokens(
  marks: Uint8Array,
  tokens: number,
  places: number,
  counts: Int32Array,
  offsets: Int32Array,
  list: Int32Array,
): void {
  // While filling, offsets[p + 1] is the next free entry of place p; it ends as the start of place p + 1.
  offsets[0] = 0;
  for (let place = 0, start = 0; place < places; place++) {
    offsets[place + 1] = start;
    start += counts[place]!;
  }
  for (let token = 0, i = 0; token < tokens; token++) {
    for (let place = 0; place < places; place++, i++) {
      if (marks[i] === 0) continue;
      const at = offsets[place + 1]!;
      list[at] = token;
      offsets[place + 1] = at + 1;
    }
  }
}

function requireNodeLimit(
  physical: Int32Array,
  tokens: number,
  topK: number,
  slotsPerNode: number,
  maxNodes: number,
): void {
  for (let token = 0; token < tokens; token++) {
    const start = token * topK;
    let touched = 0;
    for (let k = 0; k < topK; k++) {
      const slot = physical[start + k]!;
      if (slot < 0) continue;
      const node = (slot / slotsPerNode) | 0;
      let seen = false;
      for (let j = 0; j < k && !seen; j++) {
        const other = physical[start + j]!;
        seen = other >= 0 && ((other / slotsPerNode) | 0) === node;
      }
      if (!seen) touched++;
    }
    if (touched > maxNodes) {
      throw new RoutingError({
        code: 'routing/node-limit',
        message: `expected every token on at most ${maxNodes} nodes, got ${touched} for token ${token}`,
        value: touched,
        remedy: 'route with groups that do not span nodes, and place the replicas of a group on one node',
      });
    }
  }
}
