import { TrafficCounters } from '../communicator/counters.js';
import type { Dtype, Reduction } from '../communicator/dtype.js';
import { subTopology, type Topology } from '../communicator/topology.js';
import type {
  BoundReduction,
  NativeOperation,
  NativeRequest,
  Pending,
  ReceiveChannel,
  SendChannel,
  Transport,
  TransportFailure,
} from '../communicator/transport.js';
import { CollectivesError, PeerFailureError } from '../errors.js';
import { type Endpoint, MpiReceive, MpiSend } from './channels.js';
import { MpiAgreement } from './mpi-agreement.js';
import { MpiNative } from './native.js';
import type { RankMemory } from './rank-memory.js';
import type { Session } from './session.js';

/** MPI promises tags up to 32767; the last ones serve agreements. */
const TAG_LIMIT = 32_000;
const AGREEMENT_TAG = 32_766;

/** Polls that return at once, and later ones that let another process run, before the thread sleeps. */
const SPINS = 200;
const YIELDS = 2000;
const SLEEP_MILLISECONDS = 1;
/** The same for promises: turns of the event loop, then short timers, then longer ones, since a turn costs more than a poll. */
const TURNS = 200;
const SHORT_TIMERS = 10;
const LONG_SLEEP_MILLISECONDS = 3;

/** Ranks are processes started by mpirun; messages are MPI's. */
export class MpiTransport implements Transport {
  readonly kind = 'mpi';
  readonly rank: number;
  readonly size: number;
  readonly topology: Topology;
  readonly counters: TrafficCounters;
  readonly tagLimit: number = TAG_LIMIT;
  readonly canBlock = true;
  readonly #session: Session;
  readonly #communicator: number;
  readonly #pieceBytes: number;
  readonly #memory: RankMemory;
  readonly #sleeper = new Int32Array(new SharedArrayBuffer(4));
  #closed = false;

  /** @param communicator - an MPI handle that belongs to this transport alone. */
  constructor(
    session: Session,
    communicator: number,
    topology: Topology,
    pieceBytes: number,
    memory: RankMemory,
  ) {
    this.#memory = memory;
    this.#session = session;
    this.#communicator = communicator;
    this.#pieceBytes = pieceBytes;
    this.rank = session.rankOf(communicator);
    this.size = session.sizeOf(communicator);
    this.topology = topology;
    this.counters = new TrafficCounters(this.rank, topology);
  }

  allocate(bytes: number): Uint8Array {
    return this.#memory.allocate(bytes);
  }

  release(region: Uint8Array): void {
    this.#memory.release(region);
  }

  bindReduction(
    dtype: Dtype,
    reduction: Reduction,
    target: Uint8Array,
    left: Uint8Array,
    right: Uint8Array,
  ): BoundReduction | undefined {
    return dtype === 'u8' ? undefined : this.#memory.bindReduction(dtype, reduction, target, left, right);
  }

  openSend(peer: number, tag: number, source: Uint8Array): SendChannel {
    return new MpiSend(this.#endpoint(peer, tag), source);
  }

  openReceive(peer: number, tag: number, target: Uint8Array): ReceiveChannel {
    return new MpiReceive(this.#endpoint(peer, tag), target);
  }

  openNative(request: NativeRequest): NativeOperation {
    return new MpiNative(this.#session, this.#communicator, this.rank, request);
  }

  agree(payload: Uint8Array): Pending<readonly Uint8Array[]> {
    return new MpiAgreement(this.#session, this.#communicator, this.rank, this.size, AGREEMENT_TAG, payload);
  }

  split(members: readonly number[]): Pending<Transport | undefined> {
    // MPI_Comm_split blocks, so all ranks meet first.
    const meeting = this.agree(new Uint8Array(0));
    let made: Transport | undefined;
    let done = false;
    return {
      test: () => {
        if (!done && meeting.test()) {
          made = this.#makeGroup(members);
          done = true;
        }
        return done;
      },
      result: () => made,
      missing: () => meeting.missing(),
    };
  }

  shrink(): Pending<Transport> {
    throw new CollectivesError({
      code: 'collectives/unsupported',
      message: 'MPI jobs end when a rank fails, so there is nothing to shrink to',
      remedy: 'restart the job, or use the worker transport, which survives the loss of a rank',
    });
  }

  /** Every test of a request makes MPI go on. */
  progress(): void {}

  activity(): number {
    return 0;
  }

  pause(_token: number, attempt: number, maxSeconds: number): void {
    if (attempt < SPINS) return;
    if (attempt < YIELDS) this.#session.library.yieldProcessor();
    else Atomics.wait(this.#sleeper, 0, 0, Math.min(SLEEP_MILLISECONDS, maxSeconds * 1000));
  }

  pauseAsync(_token: number, attempt: number, maxSeconds: number): Promise<void> {
    return new Promise((resolve) => {
      if (attempt < TURNS) {
        setImmediate(resolve);
        return;
      }
      const sleep = attempt < TURNS + SHORT_TIMERS ? SLEEP_MILLISECONDS : LONG_SLEEP_MILLISECONDS;
      setTimeout(resolve, Math.min(sleep, maxSeconds * 1000));
    });
  }

  now(): number {
    return performance.now() / 1000;
  }

  /** MPI tells nothing: the process manager ends the job when a rank dies, and silence becomes a timeout. */
  failure(): TransportFailure | undefined {
    return undefined;
  }

  fail(ranks: readonly number[], reason: string): void {
    this.#session.abandon(new PeerFailureError(ranks, reason));
  }

  abandon(error: Error): void {
    this.#session.abandon(error);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#session.free(this.#communicator);
  }

  #makeGroup(members: readonly number[]): Transport | undefined {
    const index = members.indexOf(this.rank);
    const color = index < 0 ? undefined : members[0];
    const communicator = this.#session.split(this.#communicator, color, Math.max(index, 0));
    if (index < 0) return undefined;
    return new MpiTransport(
      this.#session,
      communicator,
      subTopology(this.topology, members),
      this.#pieceBytes,
      this.#memory,
    );
  }

  #endpoint(peer: number, tag: number): Endpoint {
    return {
      session: this.#session,
      communicator: this.#communicator,
      peer,
      tag,
      counters: this.counters,
      pieceBytes: this.#pieceBytes,
    };
  }
}
