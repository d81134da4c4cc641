import { availableParallelism } from 'node:os';
import { Arena, MAXIMUM_ARENA_BYTES, type WasmMemory } from '@moestack/kernels';
import { createTopology, type Topology, uniformTopology } from '../communicator/topology.js';
import { CollectivesError } from '../errors.js';
import {
  GROUP_SIZE,
  groupBytes,
  LINE_BYTES,
  MAGIC,
  MAXIMUM_RANKS,
  WORLD_MAGIC,
  WORLD_RANKS,
  worldBytes,
  worldRankWord,
} from './layout.js';
import { markEnded, markFailed } from './signals.js';

const DEFAULT_BYTES_PER_RANK = 256 << 20;
const LEAST_BYTES_PER_RANK = 1 << 16;
const SPIN_POLLS = 2000;
/** Where ranks outnumber cores, spinning keeps the awaited rank from running. */
const CROWDED_SPIN_POLLS = 100;

/** Options of {@link WorkerWorld.create}. */
export interface WorkerWorldOptions {
  /** Number of ranks, 1 to 256. */
  readonly ranks: number;
  /**
   * Shared memory of each rank, for what `allocate` gives and for staging. Default: 256 MiB, or an equal part of 4 GiB if that is less. The
   * operating system commits pages when they are first written.
   */
  readonly bytesPerRank?: number;
  /** Which ranks count as one node. Default: all. */
  readonly topology?: Topology;
}

/** What a thread needs to become a rank; plain data and the shared memory, for `workerData` or `postMessage`. */
export interface WorkerHandle {
  readonly kind: 'moestack-worker-rank';
  readonly memory: WasmMemory;
  readonly rank: number;
  readonly ranks: number;
  /** Node of each rank. */
  readonly nodeOf: readonly number[];
  /** Byte offset of the control block. */
  readonly worldOffset: number;
  /** Byte offset of rank 0's part. */
  readonly heapOffset: number;
  readonly bytesPerRank: number;
  /** Fruitless polls before a waiting rank blocks. */
  readonly spinPolls: number;
}

/**
 * The shared memory of a group of ranks, made by one thread; every rank attaches to it with its handle.
 *
 * @example
 * ```ts
 * import { attachWorkerCommunicator, WorkerWorld } from '@moestack/collectives/worker';
 *
 * const world = WorkerWorld.create({ ranks: 1 });
 * const comm = attachWorkerCommunicator(world.handle(0));
 * console.log(comm.size); // 1
 * comm.close();
 * ```
 */
export class WorkerWorld {
  readonly ranks: number;
  readonly topology: Topology;
  readonly bytesPerRank: number;
  readonly #memory: WasmMemory;
  readonly #words: Int32Array;
  readonly #worldOffset: number;
  readonly #heapOffset: number;
  readonly #spinPolls: number;

  private constructor(ranks: number, bytesPerRank: number, topology: Topology, arena: Arena) {
    this.ranks = ranks;
    this.bytesPerRank = bytesPerRank;
    this.topology = topology;
    this.#memory = arena.memory;
    this.#words = new Int32Array(arena.memory.buffer);
    // Nothing else lives in this arena: the whole of it is laid out here.
    this.#worldOffset = Math.ceil(arena.usedBytes / LINE_BYTES) * LINE_BYTES;
    this.#heapOffset =
      Math.ceil((this.#worldOffset + worldBytes(ranks) + groupBytes(ranks)) / LINE_BYTES) * LINE_BYTES;
    this.#spinPolls = ranks <= availableParallelism() ? SPIN_POLLS : CROWDED_SPIN_POLLS;
    const world = this.#worldOffset / 4;
    const group = (this.#worldOffset + worldBytes(ranks)) / 4;
    this.#words[world + WORLD_RANKS] = ranks;
    this.#words[group + GROUP_SIZE] = ranks;
    for (let rank = 0; rank < ranks; rank++) this.#words[worldRankWord(group, ranks, rank)] = rank;
    Atomics.store(this.#words, world + WORLD_MAGIC, MAGIC);
  }

  /** Reserves the shared memory. */
  static create(options: WorkerWorldOptions): WorkerWorld {
    const { ranks } = options;
    if (!Number.isInteger(ranks) || ranks < 1 || ranks > MAXIMUM_RANKS) {
      throw badConfig(`expected ranks from 1 to ${MAXIMUM_RANKS}, got ${ranks}`, ranks, 'use more processes');
    }
    const topology = options.topology ?? uniformTopology(1, ranks);
    if (topology.size !== ranks) {
      throw badConfig(
        `expected a topology of ${ranks} ranks, got one of ${topology.size}`,
        topology.size,
        'describe every rank once',
      );
    }
    const control = worldBytes(ranks) + groupBytes(ranks) + (1 << 16);
    const room = Math.floor((MAXIMUM_ARENA_BYTES - control) / ranks / LINE_BYTES) * LINE_BYTES;
    const wanted = options.bytesPerRank ?? Math.min(DEFAULT_BYTES_PER_RANK, room);
    if (!Number.isSafeInteger(wanted) || wanted < LEAST_BYTES_PER_RANK || wanted > room) {
      throw badConfig(
        `expected bytesPerRank from ${LEAST_BYTES_PER_RANK} to ${room} with ${ranks} ranks, got ${wanted}`,
        wanted,
        'all ranks of one process share 4 GiB; use fewer ranks or smaller buffers',
      );
    }
    const bytesPerRank = Math.ceil(wanted / LINE_BYTES) * LINE_BYTES;
    const arena = Arena.create({ maximumBytes: control + ranks * bytesPerRank, shared: true });
    return new WorkerWorld(ranks, bytesPerRank, topology, arena);
  }

  /** What rank `rank` needs to attach; give it to one thread. */
  handle(rank: number): WorkerHandle {
    this.#need(rank);
    return {
      kind: 'moestack-worker-rank',
      memory: this.#memory,
      rank,
      ranks: this.ranks,
      nodeOf: Array.from(this.topology.nodeOf),
      worldOffset: this.#worldOffset,
      heapOffset: this.#heapOffset,
      bytesPerRank: this.bytesPerRank,
      spinPolls: this.#spinPolls,
    };
  }

  /** Declares a rank failed: whoever waits for it, blocked or not, gets a PeerFailureError that names it. */
  fail(rank: number, reason: string): void {
    this.#need(rank);
    markFailed(this.#words, this.#worldOffset / 4, this.ranks, rank, reason);
  }

  /**
   * Tells the other ranks that the thread of `rank` is gone. After a clean end only those that still expect something from it fail, as after
   * `close`; otherwise the rank counts as failed.
   */
  ended(rank: number, clean: boolean, reason: string): void {
    this.#need(rank);
    markEnded(this.#words, this.#worldOffset / 4, this.ranks, rank, clean, reason);
  }

  #need(rank: number): void {
    if (!Number.isInteger(rank) || rank < 0 || rank >= this.ranks) {
      throw badConfig(`expected a rank below ${this.ranks}, got ${rank}`, rank, 'ranks count from 0');
    }
  }
}

/** Checks a handle that came from another thread and gives its topology. */
export function checkHandle(handle: WorkerHandle): Topology {
  const words =
    handle?.kind === 'moestack-worker-rank' && handle.memory?.buffer instanceof SharedArrayBuffer
      ? new Int32Array(handle.memory.buffer)
      : undefined;
  const { rank, ranks, nodeOf, worldOffset, heapOffset, bytesPerRank } = handle ?? {};
  if (
    words === undefined ||
    !Number.isInteger(worldOffset) ||
    words[worldOffset / 4 + WORLD_MAGIC] !== MAGIC ||
    words[worldOffset / 4 + WORLD_RANKS] !== ranks ||
    !Array.isArray(nodeOf) ||
    nodeOf.length !== ranks ||
    !Number.isInteger(rank) ||
    rank < 0 ||
    rank >= ranks ||
    !(heapOffset + ranks * bytesPerRank <= handle.memory.buffer.byteLength)
  ) {
    throw badConfig(
      'expected the handle of a rank',
      typeof handle,
      'pass what WorkerWorld.handle(rank) gave, or start this thread with launchWorkers',
    );
  }
  return createTopology(nodeOf);
}

function badConfig(message: string, value: unknown, remedy: string): CollectivesError {
  return new CollectivesError({ code: 'collectives/bad-config', message, value, remedy });
}
