import { invalidConfig, needInteger } from '../moe/checks.js';

/** What decides how many ranks and nodes a token reaches. */
export interface FanoutShape {
  readonly nodes: number;
  readonly ranksPerNode: number;
  readonly experts: number;
  readonly topK: number;
  /** Most nodes of one token (group-limited gating with one group for each node); default: no limit. */
  readonly nodeLimit?: number;
}

/** Expected number of distinct destinations of one token, its own rank and node included. */
export interface Fanout {
  readonly nodes: number;
  readonly ranks: number;
}

/**
 * Expected number of distinct groups that a token reaches under a uniform gate without node limit:
 * g * (1 - C(E - E/g, K) / C(E, K)) (DeepEP, analytic SM count of its V2 kernels).
 *
 * @example
 * ```ts
 * import { expectedDistinctGroups } from '@moestack/collectives/cost';
 *
 * console.log(expectedDistinctGroups(256, 8, 8)); // 5.29 of 8 nodes
 * ```
 */
export function expectedDistinctGroups(experts: number, topK: number, groups: number): number {
  needInteger('experts', experts, 1, 1 << 24);
  needInteger('topK', topK, 0, experts);
  needInteger('groups', groups, 1, experts);
  if (experts % groups !== 0) throw invalidConfig('experts', experts, `a multiple of the ${groups} groups`);
  const outside = experts - experts / groups;
  // Probability that all K draws without replacement miss one group.
  let missed = 1;
  for (let k = 0; k < topK; k++) missed *= Math.max(0, outside - k) / (experts - k);
  return groups * (1 - missed);
}

/**
 * Exact expected fan-out of a uniform gate that keeps the `nodeLimit` nodes with the largest single scores and takes the top K of them
 * (DeepEP's internode test; DeepSeek-V2's device-limited gate).
 *
 * Scores in descending order are a random permutation of the experts. Experts are taken in that order, skipping nodes
 * beyond the first `nodeLimit` that appear, so (nodes seen, ranks seen, experts taken) is a Markov chain.
 */
export function expectedFanout(shape: FanoutShape): Fanout {
  const nodes = needInteger('nodes', shape.nodes, 1, 1 << 16);
  const perNode = needInteger('ranksPerNode', shape.ranksPerNode, 1, 1 << 16);
  const experts = needInteger('experts', shape.experts, 1, 1 << 24);
  const limit = needInteger('nodeLimit', shape.nodeLimit ?? nodes, 1, nodes);
  if (experts % (nodes * perNode) !== 0) {
    throw invalidConfig('experts', experts, `a multiple of the ${nodes * perNode} ranks`);
  }
  const perRank = experts / (nodes * perNode);
  const topK = needInteger('topK', shape.topK, 1, limit * perNode * perRank);
  // probability[j][r]: j nodes and r ranks seen after k experts.
  let probability = table(topK);
  probability[0]![0] = 1;
  for (let k = 0; k < topK; k++) {
    const next = table(topK);
    for (let j = 0; j <= k && j <= limit; j++) {
      for (let r = j; r <= k; r++) {
        const p = probability[j]![r]!;
        if (p === 0) continue;
        const open = j < limit;
        const left = (open ? nodes : limit) * perNode * perRank - k;
        const newNode = open ? (nodes - j) * perNode * perRank : 0;
        const newRank = (j * perNode - r) * perRank;
        const sameRank = r * perRank - k;
        if (newNode > 0) next[j + 1]![r + 1]! += (p * newNode) / left;
        if (newRank > 0) next[j]![r + 1]! += (p * newRank) / left;
        if (sameRank > 0) next[j]![r]! += (p * sameRank) / left;
      }
    }
    probability = next;
  }
  let expectedNodes = 0;
  let expectedRanks = 0;
  for (let j = 0; j <= topK; j++) {
    for (let r = 0; r <= topK; r++) {
      expectedNodes += j * probability[j]![r]!;
      expectedRanks += r * probability[j]![r]!;
    }
  }
  return { nodes: expectedNodes, ranks: expectedRanks };
}

function table(topK: number): Float64Array[] {
  return Array.from({ length: topK + 2 }, () => new Float64Array(topK + 2));
}
