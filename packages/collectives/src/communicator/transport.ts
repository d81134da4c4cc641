import type { TrafficCounters } from './counters.js';
import type { Dtype, Reduction } from './dtype.js';
import type { Topology } from './topology.js';

/**
 * One direction of a persistent point-to-point connection with a fixed buffer, as MPI's persistent requests.
 *
 * The k-th `start()` of the send channel (a -> b, tag) meets the k-th `start()` of the receive channel (a -> b, tag): messages of one
 * channel are never reordered, lost or duplicated. At most one send and one receive channel exist per (sender, receiver, tag) at
 * a time; a tag may be used again after both ends closed their channels, and then goes on where the old pair stopped.
 *
 * Life: idle -> `start()` -> active -> `test()` returns true -> idle. A region belongs to the transport while its channel is active: the sender must not
 * write it, the receiver must not read or write it. Between, it belongs to the caller. Nothing here allocates after opening.
 */
export interface Channel {
  /** The other rank. */
  readonly peer: number;
  /**
   * Bytes of the last completed transfer: for a send what was passed to `start`, for a receive what arrived (at most the
   * region's length).
   */
  readonly transferredBytes: number;
  /**
   * Whether the transfer is complete. Never blocks; idempotent when true; a never-started channel is complete. Looks only at this channel:
   * callers poll with {@link Transport.progress} in between. For a send, complete means the region may be written
   * again (not that the peer's operation has ended); for a receive, that the data is in the region and visible to this thread.
   *
   * @throws MismatchError on the receiver (and, where the transport sees it first, on the sender too) when the message is longer than the receive region.
   * @throws CollectivesError `collectives/native` when the engine below reports an error.
   */
  test(): boolean;
  /** Forgets the channel; it must be idle, unless the transport is broken or closing. Idempotent. */
  close(): void;
}

/** See {@link Channel}. */
export interface SendChannel extends Channel {
  /**
   * Begins to send the first `bytes` bytes of the region (default: all of it; 0 is a message too). Never blocks: what cannot be done at
   * once is done by later `progress()`/`test()` calls, or by the peer. Must not be called while active (not checked in the hot path).
   */
  start(bytes?: number): void;
}

/** See {@link Channel}. */
export interface ReceiveChannel extends Channel {
  /** Offers the region to the peer. Never blocks. Must not be called while active. */
  start(): void;
}

/** A reduction fused with a receive: `target = left ⊕ message`, elementwise. */
export interface FusedReduction {
  readonly dtype: Dtype;
  readonly reduction: Reduction;
  /** Written; may be the same region as `left`, otherwise they do not overlap. */
  readonly target: Uint8Array;
  /** Same length as `target`. Belongs to the transport while active, as `target` does. */
  readonly left: Uint8Array;
}

/** Local work bound to its operands, a reduction `target = left ⊕ right` or a copy; `run()` allocates nothing. */
export interface BoundReduction {
  /** Reduces once, in place. */
  run(): void;
}

/** Something that completes by polling. */
export interface Pending<T> {
  /** Whether it is complete; never blocks; may throw what the operation may throw. Poll together with {@link Transport.progress}. */
  test(): boolean;
  /** The result; only after `test()` returned true. */
  result(): T;
  /** Ranks it still waits for, ascending; names them in timeouts. */
  missing(): readonly number[];
}

/** Ranks of a transport known to have failed, or to have left. */
export interface TransportFailure {
  /** Failed ranks, ascending; grows. Any entry breaks the transport. */
  readonly ranks: readonly number[];
  /**
   * Ranks that called `close`, ascending. That is no failure by itself: what they sent before still arrives, and only who waits for one of them fails.
   */
  readonly departed?: readonly number[];
  /** Why, one line. */
  readonly reason: string;
  readonly cause?: unknown;
}

/** MPI's own collectives, bound to buffers; the only source of `algorithm: 'native'`. */
export interface NativeOperation {
  /** Starts it without blocking. */
  start(): void;
  /** Whether it is complete; never blocks. */
  test(): boolean;
  /**
   * Starts and completes in one blocking call of at most `timeoutSeconds`; when absent the executor uses start and test.
   */
  run?(timeoutSeconds: number): void;
  /** Releases what the operation holds. */
  close(): void;
}

/** What a native operation needs to know; counts in elements, all validated and agreed before. */
export interface NativeRequest {
  readonly op:
    | 'allReduce'
    | 'reduceScatter'
    | 'allGather'
    | 'allToAll'
    | 'broadcast'
    | 'reduce'
    | 'gather'
    | 'scatter'
    | 'barrier';
  readonly dtype: Dtype;
  readonly reduction: Reduction;
  readonly root: number;
  /** By rank; for allToAll what this rank sends to each. One entry for allReduce, broadcast and reduce. */
  readonly sendCounts: readonly number[];
  /** By rank; allToAll only: what this rank receives from each. */
  readonly receiveCounts: readonly number[];
  readonly input: Uint8Array;
  readonly output: Uint8Array;
}

/**
 * Moves bytes between the ranks of one group: threads, processes, or ranks of one thread. Implementations: `loopback`, `worker`, `mpi`.
 *
 * A transport object belongs to one rank and one thread and is not re-entrant. Every method but `pause` returns without waiting for another
 * rank. Calls marked collective must be made by every rank of the group, in the same order.
 *
 * Failure: when a rank dies (or is declared failed by {@link Transport.fail}) `failure()` becomes defined on every survivor, soon and without
 * their help; the transport is then broken: channels may never complete, callers stop polling them and use only `shrink`, `close`, `failure`.
 */
export interface Transport {
  readonly kind: 'loopback' | 'worker' | 'mpi';
  readonly rank: number;
  readonly size: number;
  readonly topology: Topology;
  /** Traffic of this rank in this group; the transport counts each payload message once when it completes locally. */
  readonly counters: TrafficCounters;
  /** Channel tags are integers in [0, tagLimit); at least 1024. They are handed out from 0 upwards and reused. */
  readonly tagLimit: number;
  /** Whether this thread may block in {@link Transport.pause} while other ranks go on (false for ranks of one thread). */
  readonly canBlock: boolean;

  /**
   * Memory from which messages move with the fewest copies (shared between threads, or plain). Zero-filled, aligned to 64 bytes,
   * owned by the caller until `release` or `close`. Any other Uint8Array is a valid region too, at the price of a staging copy where needed.
   *
   * @throws CollectivesError `collectives/out-of-memory`, naming size and what is left.
   */
  allocate(bytes: number): Uint8Array;
  /** Gives memory of `allocate` back; the view must not be used afterwards. */
  release(region: Uint8Array): void;

  /** Opens the sending end. Not collective; the peer's end may open later. `peer` is never this rank. */
  openSend(peer: number, tag: number, source: Uint8Array): SendChannel;
  /** Opens the receiving end. Not collective; the peer's end may open later. `peer` is never this rank. */
  openReceive(peer: number, tag: number, target: Uint8Array): ReceiveChannel;
  /**
   * Opens a receiving end that reduces while it receives, without a buffer for the message. Optional: without it the executor
   * receives into scratch memory and reduces. Must give the bits of {@link Reduction}.
   */
  openReceiveReduce?(peer: number, tag: number, fused: FusedReduction): ReceiveChannel;
  /** A faster local reduction than the executor's scalar one for these operands, or undefined. Same bits. */
  bindReduction?(
    dtype: Dtype,
    reduction: Reduction,
    target: Uint8Array,
    left: Uint8Array,
    right: Uint8Array,
  ): BoundReduction | undefined;
  /** A faster local copy than `target.set(source)` for these operands (same length, no overlap), or undefined. */
  bindCopy?(target: Uint8Array, source: Uint8Array): BoundReduction | undefined;
  /** A native operation, where the engine has one. */
  openNative?(request: NativeRequest): NativeOperation;

  /**
   * Collective control plane: gathers one payload of each rank (lengths may differ, at most 1 MiB) on every rank, by rank. The k-th call on one rank meets the
   * k-th call on the others. Independent of channels, not counted as traffic. The payload is copied before return. At most one is pending at a time.
   */
  agree(payload: Uint8Array): Pending<readonly Uint8Array[]>;
  /**
   * Collective over this group: creates the transport of a group. Needs no agreement before it, and waits for members that come late; the k-th call of
   * every rank meets the k-th call on the others. `members` are ranks of this group in the order of their new ranks; every
   * member passes the same list, different callers may pass lists of disjoint groups, and a rank that joins none passes an empty list and gets undefined.
   * The new transport is independent: own tags, agreements, counters; it stays usable after this one is closed. Failures of a member reach it too.
   */
  split(members: readonly number[]): Pending<Transport | undefined>;
  /**
   * Collective over the survivors: agrees on who failed and creates a transport of the survivors, in ascending old rank. Works when
   * nothing failed (then like a dup).
   *
   * @throws CollectivesError `collectives/unsupported` where the engine cannot (mpi).
   */
  shrink(): Pending<Transport>;

  /** Advances transfers of all active channels of this rank; cheap when there is nothing to do. */
  progress(): void;
  /**
   * A number that changes whenever something that could complete a channel, agreement or failure of this rank happened. Read it before polling and pass it to
   * `pause`, so that no wake-up is lost.
   */
  activity(): number;
  /**
   * Called after the `attempt`-th fruitless poll in a row (0, 1, 2, ...): spins, yields or blocks until `activity()` differs from `token`, but at
   * most `maxSeconds`; may return early at any time. The transport chooses the policy: returning at once for small attempts gives the lowest
   * latency; a rank that waits longer than 10 ms must use less than 5 % of a core. Only called when `canBlock`.
   */
  pause(token: number, attempt: number, maxSeconds: number): void;
  /** As `pause`, but keeps the event loop turning: resolves instead of returning. Must let timers and I/O run at least once per resolve. */
  pauseAsync(token: number, attempt: number, maxSeconds: number): Promise<void>;
  /** Monotonic seconds, for deadlines. */
  now(): number;

  /** Known failures, or undefined; cheap enough to be polled. */
  failure(): TransportFailure | undefined;
  /** Declares ranks of this group failed, for all survivors. Idempotent. */
  fail(ranks: readonly number[], reason: string): void;
  /**
   * Told once when an operation of this rank timed out or was aborted, after which the transport is broken for this rank. Channels may still be active: the transport must make sure
   * that nothing writes the caller's regions afterwards, or keep them alive; mpi ends the job.
   */
  abandon(error: Error): void;
  /** Not collective. Idempotent. What was sent is still delivered; peers that wait for more see this rank as departed. */
  close(): void;
}
