/** Beyond this many partitions an exact search gives way to exchanges between nodes. */
export const MAX_PARTITIONS = 60_000;

/**
 * Assigns equally many groups to each node so that the highest node cost is low: exactly where the partitions can be
 * walked through, by exchanges otherwise.
 *
 * @param cost - cost of a set of groups on a node; pure, called once a set (bit mask) up to 30 groups.
 * @param keep - how many of the best partitions to return, best first; exchanges return one.
 * @returns partitions as node of each group.
 */
export function partitionGroups(
  groups: number,
  nodes: number,
  groupLoads: Float64Array,
  cost: (members: readonly number[]) => number,
  keep: number,
): Int32Array[] {
  const perNode = groups / nodes;
  if (perNode === 1) return [Int32Array.from({ length: groups }, (_, g) => g)];
  if (nodes === 1) return [new Int32Array(groups)];
  const memo = groups <= 30 ? new Map<number, number>() : undefined;
  const memoCost = (members: readonly number[]): number => {
    if (memo === undefined) return cost(members);
    let mask = 0;
    for (const g of members) mask |= 1 << g;
    let value = memo.get(mask);
    if (value === undefined) {
      value = cost(members);
      memo.set(mask, value);
    }
    return value;
  };
  if (countPartitions(groups, nodes) > MAX_PARTITIONS) {
    return [exchangeGroups(groups, nodes, groupLoads, memoCost)];
  }
  return walkPartitions(groups, nodes, memoCost, keep);
}

/** Number of ways to split the groups into unordered, equal parts. */
export function countPartitions(groups: number, nodes: number): number {
  let ways = 1;
  const perNode = groups / nodes;
  for (let left = groups; left > perNode; left -= perNode) {
    // The lowest group left names the part, so that parts are not ordered.
    for (let i = 1; i < perNode; i++) ways *= (left - i) / i;
  }
  return Math.round(ways);
}

function walkPartitions(
  groups: number,
  nodes: number,
  cost: (members: readonly number[]) => number,
  keep: number,
): Int32Array[] {
  const perNode = groups / nodes;
  const best: { cost: number; partition: Int32Array }[] = [];
  const partition = new Int32Array(groups).fill(-1);
  const limit = (): number => (best.length < keep ? Number.POSITIVE_INFINITY : best[best.length - 1]!.cost);
  const addNode = (node: number, worst: number): void => {
    if (node === nodes) {
      best.push({ cost: worst, partition: partition.slice() });
      best.sort((a, b) => a.cost - b.cost);
      if (best.length > keep) best.pop();
      return;
    }
    const members = [partition.indexOf(-1)];
    partition[members[0]!] = node;
    const addMember = (from: number): void => {
      if (members.length === perNode) {
        const nodeCost = Math.max(worst, cost(members));
        if (nodeCost < limit()) addNode(node + 1, nodeCost);
        return;
      }
      for (let g = from; g < groups; g++) {
        if (partition[g] !== -1) continue;
        partition[g] = node;
        members.push(g);
        addMember(g + 1);
        members.pop();
        partition[g] = -1;
      }
    };
    addMember(members[0]! + 1);
    partition[members[0]!] = -1;
  };
  addNode(0, 0);
  return best.map((entry) => entry.partition);
}

/** Longest processing time first, then exchanges with the costliest node while they lower the pair's maximum. */
function exchangeGroups(
  groups: number,
  nodes: number,
  groupLoads: Float64Array,
  cost: (members: readonly number[]) => number,
): Int32Array {
  const perNode = groups / nodes;
  const order = Array.from({ length: groups }, (_, g) => g).sort(
    (a, b) => groupLoads[b]! - groupLoads[a]! || a - b,
  );
  const members: number[][] = Array.from({ length: nodes }, () => []);
  const loads = new Float64Array(nodes);
  for (const g of order) {
    let best = -1;
    for (let n = 0; n < nodes; n++) {
      if (members[n]!.length < perNode && (best < 0 || loads[n]! < loads[best]!)) best = n;
    }
    members[best]!.push(g);
    loads[best]! += groupLoads[g]!;
  }
  const costs = Float64Array.from(members, (set) => cost(set));
  for (let step = 0; step < 8 * groups; step++) {
    const hot = costs.indexOf(Math.max(...costs));
    let gain: { pair: number; other: number; i: number; j: number } | undefined;
    for (let n = 0; n < nodes; n++) {
      if (n === hot) continue;
      for (let i = 0; i < perNode; i++) {
        for (let j = 0; j < perNode; j++) {
          const a = members[hot]!.with(i, members[n]![j]!);
          const b = members[n]!.with(j, members[hot]![i]!);
          const pair = Math.max(cost(a), cost(b));
          if (pair < (gain?.pair ?? costs[hot]! * (1 - 1e-9))) gain = { pair, other: n, i, j };
        }
      }
    }
    if (gain === undefined) break;
    const { other, i, j } = gain;
    [members[hot]![i], members[other]![j]] = [members[other]![j]!, members[hot]![i]!];
    costs[hot] = cost(members[hot]!);
    costs[other] = cost(members[other]!);
  }
  const partition = new Int32Array(groups);
  members.forEach((set, n) => {
    for (const g of set) partition[g] = n;
  });
  return partition;
}
