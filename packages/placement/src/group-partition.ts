/** Sets of groups looked at before the exact search gives up. */
const MAX_STATES = 100_000;
/** Partitions costlier than the first one found by this factor are of no use. */
const SLACK = 1.05;

/** Assignments of groups to nodes, best first. */
export interface GroupPartitions {
  /** Node of each group. */
  readonly partitions: readonly Int32Array[];
  /** Cost of the best one: its costliest node. */
  readonly cost: number;
  /** Every partition not returned costs at least this; undefined when the search gave up. */
  readonly othersCost: number | undefined;
}

/**
 * Assigns equally many groups to each node so that the highest node cost is low: first by exchanges, then by branch and
 * bound, which proves the optimum unless it takes too many states.
 *
 * @param cost - cost of a set of groups on a node; pure, called once a set.
 * @param keep - how many of the best partitions to return.
 */
export function partitionGroups(
  groups: number,
  nodes: number,
  groupLoads: Float64Array,
  cost: (members: readonly number[]) => number,
  keep: number,
): GroupPartitions {
  const memo = new Map<string, number>();
  const memoCost = (members: readonly number[]): number => {
    const key = members.length > 1 ? [...members].sort((a, b) => a - b).join() : String(members[0]);
    let value = memo.get(key);
    if (value === undefined) {
      value = cost(members);
      memo.set(key, value);
    }
    return value;
  };
  const found = exchangeGroups(groups, nodes, groupLoads, memoCost);
  if (nodes === 1 || groups === nodes)
    return { partitions: [found.partition], cost: found.cost, othersCost: Number.POSITIVE_INFINITY };
  return walkPartitions(groups, nodes, groupLoads, memoCost, keep, found);
}

interface Found {
  readonly partition: Int32Array;
  readonly cost: number;
}

/** Depth first, the heaviest group left opens the next node; nodes are not told apart, so each partition comes once. */
function walkPartitions(
  groups: number,
  nodes: number,
  groupLoads: Float64Array,
  cost: (members: readonly number[]) => number,
  keep: number,
  first: Found,
): GroupPartitions {
  const perNode = groups / nodes;
  const order = Array.from({ length: groups }, (_, g) => g).sort(
    (a, b) => groupLoads[b]! - groupLoads[a]! || a - b,
  );
  const best: Found[] = [first];
  const partition = new Int32Array(groups).fill(-1);
  let states = 0;
  const limit = (): number => (best.length < keep ? first.cost * SLACK : best[best.length - 1]!.cost);
  const addNode = (node: number, worst: number): void => {
    if (node === nodes) {
      best.push({ cost: worst, partition: partition.slice() });
      best.sort((a, b) => a.cost - b.cost);
      if (best.length > keep) best.pop();
      return;
    }
    const opener = order.find((g) => partition[g] === -1)!;
    const members = [opener];
    partition[opener] = node;
    // Lightest companions first: they leave the most room below the limit.
    const addMember = (from: number): void => {
      if (states > MAX_STATES) return;
      if (members.length === perNode) {
        states++;
        const nodeCost = Math.max(worst, cost(members));
        if (nodeCost < limit()) addNode(node + 1, nodeCost);
        return;
      }
      for (let i = from; i >= 0; i--) {
        const g = order[i]!;
        if (partition[g] !== -1) continue;
        partition[g] = node;
        members.push(g);
        addMember(i - 1);
        members.pop();
        partition[g] = -1;
      }
    };
    addMember(groups - 1);
    partition[opener] = -1;
  };
  addNode(0, 0);
  return {
    partitions: best.map((entry) => entry.partition),
    cost: best[0]!.cost,
    othersCost: states > MAX_STATES ? undefined : limit(),
  };
}

/** Longest processing time first, then exchanges with the costliest node while they lower the pair's maximum. */
function exchangeGroups(
  groups: number,
  nodes: number,
  groupLoads: Float64Array,
  cost: (members: readonly number[]) => number,
): Found {
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
  return { partition, cost: Math.max(...costs) };
}
