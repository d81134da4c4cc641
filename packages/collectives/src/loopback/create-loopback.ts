import type { Communicator } from '../communicator/communicator.js';
import { type CommunicatorOptions, createCommunicator } from '../communicator/create-communicator.js';
import { type Topology, uniformTopology } from '../communicator/topology.js';
import { CollectivesError } from '../errors.js';
import { Group, World } from './hub.js';
import { LoopbackTransport } from './transport.js';

/** Options of {@link createLoopback}. */
export interface LoopbackOptions extends CommunicatorOptions {
  /** Where the ranks are; default: one node. Its size must equal the number of ranks. */
  readonly topology?: Topology;
  /** Monotonic seconds for deadlines; default: the process's clock. */
  readonly now?: () => number;
}

const MAX_RANKS = 4096;

/**
 * Communicators of `size` ranks that share this thread: for tests, simulations, and code that wants the interface without
 * parallelism. Ranks take turns through promises ({@link Plan.wait}), {@link runTogether}, or `start` and `test`.
 *
 * @example
 * ```ts
 * import { createLoopback } from '@moestack/collectives';
 *
 * const ranks = createLoopback(4);
 * const sums = await Promise.all(ranks.map((comm) => comm.allReduce(Float32Array.of(comm.rank))));
 * console.log(sums[0]); // 6
 * ```
 */
export function createLoopback(size: number, options: LoopbackOptions = {}): Communicator[] {
  if (!Number.isInteger(size) || size < 1 || size > MAX_RANKS) {
    throw new CollectivesError({
      code: 'collectives/bad-config',
      message: `expected 1 to ${MAX_RANKS} ranks, got ${size}`,
      value: size,
      remedy: 'pass the number of ranks',
    });
  }
  const topology = options.topology ?? uniformTopology(1, size);
  if (topology.size !== size) {
    throw new CollectivesError({
      code: 'collectives/bad-config',
      message: `expected a topology of ${size} ranks, got ${topology.size}`,
      value: topology.size,
      remedy: 'pass a topology of the same size',
    });
  }
  const world = new World(options.now ?? (() => performance.now() / 1000));
  const ranks = Array.from({ length: size }, (_, rank) => rank);
  const group = new Group(world, ranks, topology);
  return ranks.map((rank) => createCommunicator(new LoopbackTransport(group, rank), options));
}
