import { hostname } from 'node:os';
import type { Communicator } from '../communicator/communicator.js';
import { type CommunicatorOptions, createCommunicator } from '../communicator/create-communicator.js';
import { createTopology, type Topology } from '../communicator/topology.js';
import { blockUntil } from '../communicator/waiting.js';
import { CollectivesError } from '../errors.js';
import { loadMpi } from './library.js';
import { RankMemory } from './rank-memory.js';
import { Session } from './session.js';
import { MpiTransport } from './transport.js';

/** Options of {@link connectMpi}. */
export interface MpiOptions extends CommunicatorOptions {
  /** File name or path of the MPI library; default: found by how this process was started, then by the usual names. */
  readonly library?: string;
  /** Where the ranks are; default: ranks with the same host name share a node. */
  readonly topology?: Topology;
  /** Seconds between an error that ends the job (a timeout, an abort) and its end, for the program to report it; default 0.5. */
  readonly graceSeconds?: number;
  /** Longer messages travel in pieces of this size; default 2^30, since MPI counts in 32 bits. Must be the same on every rank. */
  readonly pieceBytes?: number;
  /**
   * Size of the memory of `allocate`, where reductions need no copies; default 256 MiB. Pages are committed when first written; what does not fit gets ordinary
   * memory.
   */
  readonly memoryBytes?: number;
}

const DEFAULT_TIMEOUT_SECONDS = 5;
const DEFAULT_PIECE_BYTES = 2 ** 30;
const DEFAULT_MEMORY_BYTES = 2 ** 28;

let connected = false;

/**
 * Joins the MPI job that this process belongs to, and returns the communicator of all its ranks. Works with Open MPI and MPICH (and what
 * shares MPICH's ABI), started by `mpirun node program.mjs`; without mpirun it is a job of one rank.
 *
 * MPI is initialized once and finalized when the process exits. A job ends as a whole: when a rank dies, exits with a code other than 0, times out or is
 * aborted, the other ranks are ended too, with a message on stderr.
 *
 * @throws CollectivesError `collectives/unsupported` when koffi or MPI is not installed, or when called twice.
 * @example
 * ```ts
 * import { connectMpi } from '@moestack/collectives/mpi';
 *
 * const comm = connectMpi();
 * const sum = await comm.allReduce(Float32Array.of(comm.rank));
 * console.log(`rank ${comm.rank} of ${comm.size}: ${sum[0]}`);
 * comm.close();
 * ```
 */
export function connectMpi(options: MpiOptions = {}): Communicator {
  const timeoutSeconds = options.timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS;
  const pieceBytes = options.pieceBytes ?? DEFAULT_PIECE_BYTES;
  if (
    !Number.isInteger(pieceBytes) ||
    pieceBytes < 1 ||
    pieceBytes > DEFAULT_PIECE_BYTES ||
    !(timeoutSeconds > 0)
  ) {
    throw new CollectivesError({
      code: 'collectives/bad-config',
      message: `expected pieceBytes of 1 to ${DEFAULT_PIECE_BYTES} and timeoutSeconds above 0, got ${pieceBytes}, ${timeoutSeconds}`,
      value: { pieceBytes, timeoutSeconds },
      remedy: 'leave them out for the defaults',
    });
  }
  if (connected) {
    throw new CollectivesError({
      code: 'collectives/unsupported',
      message: 'this process has already joined its MPI job',
      remedy: 'use dup() or split() of the first communicator',
    });
  }
  const library = loadMpi(options.library);
  const grace = options.graceSeconds === undefined ? {} : { graceSeconds: options.graceSeconds };
  const session = new Session(library, { timeoutSeconds, ...grace });
  connected = true;
  const communicator = session.duplicate(library.abi.world);
  const memory = new RankMemory(options.memoryBytes ?? DEFAULT_MEMORY_BYTES);
  const topology = options.topology ?? detectTopology(session, communicator, timeoutSeconds, memory);
  if (topology.size !== session.size) {
    throw new CollectivesError({
      code: 'collectives/bad-config',
      message: `expected a topology of ${session.size} ranks, got ${topology.size}`,
      value: topology.size,
      remedy: 'leave the topology out, or pass one of the size of the job',
    });
  }
  return createCommunicator(new MpiTransport(session, communicator, topology, pieceBytes, memory), {
    ...options,
    timeoutSeconds,
  });
}

/** Ranks with the same host name share a node. */
function detectTopology(
  session: Session,
  communicator: number,
  timeoutSeconds: number,
  memory: RankMemory,
): Topology {
  const unknown = createTopology(new Int32Array(session.size));
  const transport = new MpiTransport(session, communicator, unknown, DEFAULT_PIECE_BYTES, memory);
  const names = transport.agree(new TextEncoder().encode(hostname()));
  blockUntil(transport, 'joining the MPI job', names, timeoutSeconds);
  const ids = new Map<string, number>();
  const nodes = names.result().map((bytes) => {
    const name = new TextDecoder().decode(bytes);
    const id = ids.get(name) ?? ids.size;
    ids.set(name, id);
    return id;
  });
  return createTopology(nodes);
}
