import type { Topology } from '../communicator/topology.js';
import { binomialBroadcast, binomialReduce } from './binomial.js';
import { part, region, type ScheduleBuilder } from './builder.js';
import { chunk, type Group } from './group.js';
import type { Region } from './ir.js';
import { evenPartition, type Partition, wrap } from './partition.js';
import { recursiveDoublingAllReduce } from './recursive-doubling.js';
import { ringAllGather, ringAllReduce, ringReduceScatterInto } from './ring.js';

/** Ranks of the node of `rank`. */
function nodeGroup(topology: Topology, rank: number): Group {
  const ranks = topology.members[topology.nodeOf[rank] as number] as Int32Array;
  return { ranks: Array.from(ranks), me: topology.localOf[rank] as number };
}

/** Ranks of the same local index on every node; uniform topologies only. */
function railGroup(topology: Topology, rank: number): Group {
  const local = topology.localOf[rank] as number;
  return {
    ranks: topology.members.map((list) => list[local] as number),
    me: topology.nodeOf[rank] as number,
  };
}

/** One rank of every node: the root on its own node, else the lowest. `me` is -1 for others. */
function leaderGroup(topology: Topology, rank: number, root: number): Group {
  const ranks = topology.members.map((list, node) =>
    node === topology.nodeOf[root] ? root : (list[0] as number),
  );
  return { ranks, me: ranks.indexOf(rank) };
}

/**
 * Two-level allreduce, in place or not. Equal nodes: ring reduce-scatter inside the node, ring allreduce of part `local` along the rail of
 * equal local index, ring all-gather inside the node. Other topologies: binomial reduce to the lowest rank of each node, recursive doubling among these, binomial broadcast.
 */
export function twoLevelAllReduce(
  builder: ScheduleBuilder,
  topology: Topology,
  elementBytes: number,
  input: Region,
  output: Region,
  inPlace: boolean,
): void {
  const { rank } = builder;
  const node = nodeGroup(topology, rank);
  if (topology.ranksPerNode > 0) {
    const rail = railGroup(topology, rank);
    const parts = evenPartition(input.bytes / elementBytes, topology.ranksPerNode, elementBytes);
    ringReduceScatterInto(builder, node, parts, input, (index) => chunk(output, parts, index));
    const mine = chunk(output, parts, node.me);
    const railParts = evenPartition(mine.bytes / elementBytes, topology.nodes, elementBytes);
    ringAllReduce(builder, rail, railParts, topology.ranksPerNode === 1 ? input : mine, mine);
    ringAllGather(builder, node, parts, output);
    return;
  }
  const leaders = leaderGroup(topology, rank, (topology.members[0] as Int32Array)[0] as number);
  binomialReduce(builder, node, 0, input, output, inPlace);
  if (leaders.me >= 0) recursiveDoublingAllReduce(builder, leaders, output, output, true);
  binomialBroadcast(builder, node, 0, output);
}

/** Two-level broadcast: binomial among one rank of each node, then binomial inside the nodes. */
export function twoLevelBroadcast(
  builder: ScheduleBuilder,
  topology: Topology,
  root: number,
  data: Region,
): void {
  const leaders = leaderGroup(topology, builder.rank, root);
  const node = nodeGroup(topology, builder.rank);
  if (leaders.me >= 0) binomialBroadcast(builder, leaders, topology.nodeOf[root] as number, data);
  binomialBroadcast(builder, node, nodeLeader(topology, builder.rank, root), data);
}

/** Two-level reduce: binomial inside the nodes, then binomial among one rank of each node. */
export function twoLevelReduce(
  builder: ScheduleBuilder,
  topology: Topology,
  root: number,
  input: Region,
  output: Region,
  inPlace: boolean,
): void {
  const { rank } = builder;
  const leaders = leaderGroup(topology, rank, root);
  const node = nodeGroup(topology, rank);
  const leader = nodeLeader(topology, rank, root);
  if (leaders.me < 0 || topology.nodes === 1) {
    binomialReduce(builder, node, leader, input, output, inPlace);
    return;
  }
  let held = input;
  if (node.ranks.length > 1) {
    held = rank === root ? output : builder.scratch(input.bytes);
    binomialReduce(builder, node, leader, input, held, inPlace);
  }
  const joined = rank === root && node.ranks.length > 1;
  binomialReduce(builder, leaders, topology.nodeOf[root] as number, held, output, inPlace || joined);
}

/** Local index of the rank that speaks for the node of `rank`. */
function nodeLeader(topology: Topology, rank: number, root: number): number {
  return topology.nodeOf[rank] === topology.nodeOf[root] ? (topology.localOf[root] as number) : 0;
}

/**
 * Two-level all-to-all on equal nodes: what goes to another node travels once, in one message, to the rank of the same local index there, which
 * hands it on inside the node together with its own.
 */
export function twoLevelAllToAll(
  builder: ScheduleBuilder,
  topology: Topology,
  bytes: (from: number, to: number) => number,
  sends: Partition,
  receives: Partition,
): void {
  const { rank } = builder;
  const { nodes, ranksPerNode } = topology;
  const input = region('in', 0, sends.offsets[builder.size] as number);
  const output = region('out', 0, receives.offsets[builder.size] as number);
  const node = topology.nodeOf[rank] as number;
  const local = topology.localOf[rank] as number;
  const first = node * ranksPerNode;
  builder.copy(chunk(input, sends, rank), chunk(output, receives, rank), true);

  /** What came from each node for the ranks of this one; the own input for the own node. */
  const arrived: Region[] = [];
  arrived[node] = chunk(input, sends, first, first + ranksPerNode);
  for (let step = 1; step < nodes; step++) {
    const to = wrap(node + step, nodes);
    const from = wrap(node - step, nodes);
    let size = 0;
    for (let index = 0; index < ranksPerNode; index++)
      size += bytes(from * ranksPerNode + local, first + index);
    const incoming = builder.scratch(size);
    arrived[from] = incoming;
    builder.send(to * ranksPerNode + local, chunk(input, sends, to * ranksPerNode, (to + 1) * ranksPerNode));
    builder.receive(from * ranksPerNode + local, incoming);
    builder.endRound();
  }

  /** The block that rank (source node, `local`) sends to rank (this node, `target`). */
  const block = (source: number, target: number): Region => {
    let offset = 0;
    for (let index = 0; index < target; index++)
      offset += bytes(source * ranksPerNode + local, first + index);
    return part(arrived[source] as Region, offset, bytes(source * ranksPerNode + local, first + target));
  };
  for (let source = 0; source < nodes; source++) {
    if (source !== node)
      builder.copy(block(source, local), chunk(output, receives, source * ranksPerNode + local));
  }
  for (let step = 1; step < ranksPerNode; step++) {
    const to = wrap(local + step, ranksPerNode);
    const from = wrap(local - step, ranksPerNode);
    let sentBytes = 0;
    let receivedBytes = 0;
    for (let source = 0; source < nodes; source++) {
      sentBytes += block(source, to).bytes;
      receivedBytes += bytes(source * ranksPerNode + from, rank);
    }
    const packed = nodes === 1 ? block(node, to) : builder.scratch(sentBytes);
    const incoming = nodes === 1 ? chunk(output, receives, first + from) : builder.scratch(receivedBytes);
    if (nodes > 1) {
      let offset = 0;
      for (let source = 0; source < nodes; source++) {
        const moved = block(source, to);
        builder.copy(moved, part(packed, offset, moved.bytes));
        offset += moved.bytes;
      }
    }
    builder.send(first + to, packed);
    builder.receive(first + from, incoming);
    builder.endRound();
    if (nodes > 1) {
      let offset = 0;
      for (let source = 0; source < nodes; source++) {
        const target = chunk(output, receives, source * ranksPerNode + from);
        builder.copy(part(incoming, offset, target.bytes), target);
        offset += target.bytes;
      }
    }
  }
}

/**
 * Two-level all-gather on equal nodes: a ring along the rail of equal local index, then a ring inside the node that passes on what each rail
 * gathered. Part `rank` of `output` is in place before.
 */
export function twoLevelAllGather(
  builder: ScheduleBuilder,
  topology: Topology,
  partition: Partition,
  output: Region,
): void {
  const { nodes, ranksPerNode } = topology;
  const node = topology.nodeOf[builder.rank] as number;
  const local = topology.localOf[builder.rank] as number;
  const place = (fromNode: number, fromLocal: number): Region =>
    chunk(output, partition, fromNode * ranksPerNode + fromLocal);
  for (let step = 0; step < nodes - 1; step++) {
    builder.send(wrap(node + 1, nodes) * ranksPerNode + local, place(wrap(node - step, nodes), local));
    builder.receive(wrap(node - 1, nodes) * ranksPerNode + local, place(wrap(node - step - 1, nodes), local));
    builder.endRound();
  }
  for (let step = 0; step < ranksPerNode - 1; step++) {
    for (let source = 0; source < nodes; source++) {
      builder.send(
        node * ranksPerNode + wrap(local + 1, ranksPerNode),
        place(source, wrap(local - step, ranksPerNode)),
      );
      builder.receive(
        node * ranksPerNode + wrap(local - 1, ranksPerNode),
        place(source, wrap(local - step - 1, ranksPerNode)),
      );
    }
    builder.endRound();
  }
}
