import { CollectivesError } from '../errors.js';

/**
 * Over what a message travels: inside the rank (`self`, a local delivery), between ranks of one node, or between nodes.
 */
export type LinkClass = 'self' | 'intra' | 'inter';

/** Which node each rank of a communicator lives on. Node ids are dense and numbered by first appearance. */
export interface Topology {
  readonly size: number;
  readonly nodes: number;
  /** Ranks on every node when all nodes hold the same number in consecutive ranks (rank = node * ranksPerNode + local), else 0. */
  readonly ranksPerNode: number;
  /** [size], node of each rank. */
  readonly nodeOf: Int32Array;
  /** [size], position of each rank among the ranks of its node, ascending by rank. */
  readonly localOf: Int32Array;
  /** Ranks of each node, ascending. */
  readonly members: readonly Int32Array[];
}

/**
 * Builds a topology from the node of each rank.
 *
 * @param nodeOf - any integers; equal integers mean the same node. They are renumbered 0, 1, ... by first appearance.
 */
export function createTopology(nodeOf: ArrayLike<number>): Topology {
  const size = nodeOf.length;
  if (size === 0) throw badTopology('a topology without ranks', 0);
  const ids = new Map<number, number>();
  const nodes = new Int32Array(size);
  const localOf = new Int32Array(size);
  const members: number[][] = [];
  for (let rank = 0; rank < size; rank++) {
    const label = nodeOf[rank] as number;
    if (!Number.isInteger(label))
      throw badTopology(`expected an integer node for rank ${rank}, got ${label}`, label);
    let node = ids.get(label);
    if (node === undefined) {
      node = ids.size;
      ids.set(label, node);
      members.push([]);
    }
    nodes[rank] = node;
    const list = members[node] as number[];
    localOf[rank] = list.length;
    list.push(rank);
  }
  const perNode = (members[0] as number[]).length;
  let uniform = true;
  for (let rank = 0; rank < size; rank++) {
    if (nodes[rank] !== Math.floor(rank / perNode) || localOf[rank] !== rank % perNode) uniform = false;
  }
  if (perNode * members.length !== size) uniform = false;
  return {
    size,
    nodes: members.length,
    ranksPerNode: uniform ? perNode : 0,
    nodeOf: nodes,
    localOf,
    members: members.map((list) => Int32Array.from(list)),
  };
}

/** A topology of `nodes` equal nodes: rank r is on node floor(r / ranksPerNode). */
export function uniformTopology(nodes: number, ranksPerNode: number): Topology {
  for (const [name, value] of [
    ['nodes', nodes],
    ['ranksPerNode', ranksPerNode],
  ] as const) {
    if (!Number.isInteger(value) || value < 1) {
      throw badTopology(`expected a positive integer for ${name}, got ${value}`, value);
    }
  }
  return createTopology(
    Int32Array.from({ length: nodes * ranksPerNode }, (_, rank) => Math.floor(rank / ranksPerNode)),
  );
}

/** The topology of the group of `members` (ranks of `topology`, in the order of their new ranks). */
export function subTopology(topology: Topology, members: readonly number[]): Topology {
  return createTopology(members.map((rank) => topology.nodeOf[rank] as number));
}

/** Link class of a message from rank `from` to rank `to`. */
export function linkClass(topology: Topology, from: number, to: number): LinkClass {
  if (from === to) return 'self';
  return topology.nodeOf[from] === topology.nodeOf[to] ? 'intra' : 'inter';
}

function badTopology(message: string, value: unknown): CollectivesError {
  return new CollectivesError({
    code: 'collectives/bad-config',
    message,
    value,
    remedy: 'give every rank an integer node, and at least one rank',
  });
}
