import type { LinkFit } from '../schedule/link-fit.js';
import type { TrafficCounters } from './counters.js';
import type { Dtype, DtypeArray, Reduction } from './dtype.js';
import type { Topology } from './topology.js';
import type { Transport } from './transport.js';

/**
 * Named algorithms. All but `native` move the same bytes in the same order on every transport and give the same bits; `native` leaves
 * both to MPI and exists on the `mpi` transport only. `auto` chooses by a cost fit, the same on every rank.
 */
export type Algorithm =
  | 'ring'
  | 'recursive-doubling'
  | 'halving-doubling'
  | 'bruck'
  | 'pairwise'
  | 'binomial'
  | 'two-level'
  | 'direct'
  | 'dissemination'
  | 'native';

/** Collective operations; `send` and `receive` concern two ranks only. */
export type CollectiveOp =
  | 'allReduce'
  | 'reduceScatter'
  | 'allGather'
  | 'allToAll'
  | 'broadcast'
  | 'reduce'
  | 'gather'
  | 'scatter'
  | 'barrier';

/** Buffers of a {@link PlanRequest}; what is left out is allocated. */
export interface PlanBuffers {
  /** What this rank contributes; default: memory allocated from the communicator, see {@link Plan.input}. */
  readonly input?: DtypeArray;
  /** Where the result goes; default: memory allocated from the communicator, see {@link Plan.output}. */
  readonly output?: DtypeArray;
}

/** What most {@link PlanRequest} have in common. */
export interface PlanCommon extends PlanBuffers {
  readonly dtype: Dtype;
  /** Default `auto`. Must be the same on every rank. */
  readonly algorithm?: Algorithm | 'auto';
}

/**
 * What to plan. Counts are elements. Buffers are dense: the part of rank r starts where the parts of lower ranks end. `input` and `output` may be
 * the same array for `allReduce`, `reduce` and `broadcast` only; otherwise they must not overlap.
 *
 * - `allReduce`: input [count] -> output [count].
 * - `reduceScatter`: input [sum of counts] -> output [counts[rank]].
 * - `allGather`: input [counts[rank]] -> output [sum of counts].
 * - `allToAll`: input [sum of sendCounts] -> output [sum of receiveCounts]; `sendCounts[r]` of this rank equals `receiveCounts[this]` of rank r.
 *   With `variable: true` the counts are capacities: each run sends `plan.sendCounts[r]` (set before `start`, at most the capacity) elements to rank r, and after it
 *   `plan.receivedCounts[r]` tells what came; parts stay at the offsets of the capacities. Pairwise only; a message is sent to every rank with capacity > 0.
 * - `broadcast`: `output` [count] on every rank; on the root it holds the data (there `input`, when given, is copied into it first).
 * - `reduce`: input [count] -> output [count] on the root, none elsewhere.
 * - `gather`: input [counts[rank]] -> output [sum of counts] on the root.
 * - `scatter`: input [sum of counts] on the root -> output [counts[rank]].
 * - `send`, `receive`: between two ranks; `tag` (default 0, below 256) tells streams apart. A received message may be shorter than `count`, see {@link Plan.receivedCounts}.
 *   These two are not agreed with other ranks; a longer message than `count` is a MismatchError of the receiver.
 */
export type PlanRequest =
  | (PlanCommon & { readonly op: 'allReduce'; readonly count: number; readonly reduction?: Reduction })
  | (PlanCommon & {
      readonly op: 'reduceScatter';
      readonly counts: number | ArrayLike<number>;
      readonly reduction?: Reduction;
    })
  | (PlanCommon & { readonly op: 'allGather'; readonly counts: number | ArrayLike<number> })
  | (PlanCommon & {
      readonly op: 'allToAll';
      readonly sendCounts: number | ArrayLike<number>;
      readonly receiveCounts: number | ArrayLike<number>;
      readonly variable?: boolean;
    })
  | (PlanCommon & { readonly op: 'broadcast'; readonly count: number; readonly root: number })
  | (PlanCommon & {
      readonly op: 'reduce';
      readonly count: number;
      readonly root: number;
      readonly reduction?: Reduction;
    })
  | (PlanCommon & {
      readonly op: 'gather' | 'scatter';
      readonly counts: number | ArrayLike<number>;
      readonly root: number;
    })
  | { readonly op: 'barrier'; readonly algorithm?: Algorithm | 'auto' }
  | (PlanBuffers & {
      readonly op: 'send' | 'receive';
      readonly dtype: Dtype;
      readonly count: number;
      readonly peer: number;
      readonly tag?: number;
    });

/** How long a synchronous call may wait. */
export interface RunOptions {
  /** Seconds; default: that of the communicator (5). */
  readonly timeoutSeconds?: number;
}

/** How long a promise may wait, and what may cancel it. */
export interface WaitOptions extends RunOptions {
  /**
   * Cancels the wait: the promise rejects with AbortedError. A cancelled operation leaves the communicator broken, since its peers
   * cannot know of it.
   */
  readonly signal?: AbortSignal;
}

/**
 * A validated, agreed operation on fixed buffers, to be run any number of times. Every rank runs its plan the same number of times; plans of one
 * communicator may be active at the same time when their buffers differ.
 *
 * States: (agreeing ->) ready -> `start()` -> active -> complete = ready again; any failure makes the plan and its communicator broken. While active, `input` must not be written and `output`
 * neither read nor written. `start`, `test`, `finish` and `run` allocate nothing.
 */
export interface Plan {
  readonly op: PlanRequest['op'];
  /** The algorithm that runs, after `auto` was resolved; undefined for send and receive, and while agreeing. */
  readonly algorithm: Algorithm | undefined;
  /** Empty where this rank contributes nothing. */
  readonly input: DtypeArray;
  /** Empty where this rank gets nothing. */
  readonly output: DtypeArray;
  /** `allToAll` with `variable`: elements to send to each rank in the next run; set before `start`. `send`: one entry. Starts as the capacities. Empty otherwise. */
  readonly sendCounts: Int32Array;
  /** `allToAll` with `variable`: elements received from each rank in the last run. `receive`: one entry. Empty otherwise. */
  readonly receivedCounts: Int32Array;

  /** start() and finish(): moves the bytes, blocks until this rank's part is done. Errors as `start` and `finish`. */
  run(options?: RunOptions): void;
  /**
   * Begins a run; never blocks (on a transport whose ranks share one thread the agreement may still be going on: then it is only marked to start).
   *
   * @throws what broke the communicator; CollectivesError `collectives/busy` when already active, `collectives/closed` after close.
   */
  start(): void;
  /**
   * Advances the run; returns whether this rank's part is complete (true when not active). Never blocks.
   *
   * @throws MismatchError, PeerFailureError, or CollectivesError `collectives/native`.
   */
  test(): boolean;
  /**
   * Blocks until the run is complete.
   *
   * @throws what `test` throws; CollectivesTimeoutError; CollectivesError `collectives/would-block` when ranks share one thread and the run is
   * not complete after one poll: use {@link Plan.wait}, or `runTogether`.
   */
  finish(options?: RunOptions): void;
  /** Resolves when the run is complete; the event loop keeps turning. Rejects with what `finish` throws, except `would-block`, or AbortedError. */
  wait(options?: WaitOptions): Promise<void>;
  /** Frees channels, scratch and default buffers. Not collective. Idempotent. A plan must not be closed while active, unless broken. */
  close(): void;
}

/** Options of the one-shot calls: an algorithm, a result array, and how to wait. */
export interface CallOptions extends WaitOptions {
  readonly algorithm?: Algorithm | 'auto';
  /** Default: inferred from the array: Float32Array f32, Int32Array i32, Uint8Array u8; Uint16Array must say `bf16` or `f16`. */
  readonly dtype?: Dtype;
}

/** One-shot reductions. */
export interface ReduceOptions extends CallOptions {
  /** Default `sum`. */
  readonly reduction?: Reduction;
}

/**
 * A group of ranks that communicate. One object per rank; all ranks make the same collective calls in the same order.
 *
 * Synchronous core: `plan(...).run()`. The promise methods plan, run and close one operation each; they agree first, so mismatched calls reject on every rank
 * before any byte moves. Promise methods of one communicator run one after the other in call order.
 */
export interface Communicator {
  readonly rank: number;
  readonly size: number;
  readonly topology: Topology;
  readonly transport: Transport;
  readonly timeoutSeconds: number;

  /** Memory from which messages move with the fewest copies; zero-filled; lives until `release` or `close`. */
  allocate(dtype: 'f32', length: number): Float32Array;
  /** The same for integers. */
  allocate(dtype: 'i32', length: number): Int32Array;
  /** The same for 16-bit codes. */
  allocate(dtype: 'bf16' | 'f16', length: number): Uint16Array;
  /** The same for bytes. */
  allocate(dtype: 'u8', length: number): Uint8Array;
  /** The same for a type known at run time. */
  allocate(dtype: Dtype, length: number): DtypeArray;
  /** Gives back what `allocate` gave. */
  release(array: DtypeArray): void;

  /**
   * Validates and agrees an operation (collective, except for send and receive). Blocks until all ranks agreed; where ranks share one thread it returns
   * at once and the agreement goes on in `test`/`wait` of the plan.
   *
   * @throws CollectivesError `bad-shape`, `bad-config`, `unsupported`, `closed` at once and only on this rank; MismatchError on every rank; PeerFailureError, CollectivesTimeoutError.
   */
  plan(request: PlanRequest, options?: RunOptions): Plan;
  /** As `plan`, without blocking the event loop; works on every transport. */
  planAsync(request: PlanRequest, options?: WaitOptions): Promise<Plan>;

  /** Reduces `array` elementwise over all ranks; resolves to a new array. */
  allReduce<A extends DtypeArray>(array: A, options?: ReduceOptions): Promise<A>;
  /** Reduces and leaves part `rank` here; default counts: equal parts. */
  reduceScatter<A extends DtypeArray>(
    array: A,
    options?: ReduceOptions & { counts?: ArrayLike<number> },
  ): Promise<A>;
  /** Concatenates the arrays of all ranks; lengths may differ, the counts are exchanged first. */
  allGather<A extends DtypeArray>(array: A, options?: CallOptions): Promise<A>;
  /**
   * Sends part r of `array` to rank r; resolves to what came, by source rank, with the counts. Default send counts: equal parts. Receive counts are exchanged first.
   */
  allToAll<A extends DtypeArray>(
    array: A,
    options?: CallOptions & { sendCounts?: ArrayLike<number> },
  ): Promise<{ data: A; receiveCounts: Int32Array }>;
  /** Copies the root's array to every rank, in place; all pass arrays of the same length. Default root 0. */
  broadcast<A extends DtypeArray>(array: A, options?: CallOptions & { root?: number }): Promise<A>;
  /** Reduces onto the root; other ranks resolve to undefined. Default root 0. */
  reduce<A extends DtypeArray>(array: A, options?: ReduceOptions & { root?: number }): Promise<A | undefined>;
  /** Concatenates on the root; other ranks resolve to undefined. Default root 0. */
  gather<A extends DtypeArray>(array: A, options?: CallOptions & { root?: number }): Promise<A | undefined>;
  /** Hands part r of the root's array to rank r; others pass an empty array of the same type. Default: equal parts, root 0. */
  scatter<A extends DtypeArray>(
    array: A,
    options?: CallOptions & { root?: number; counts?: ArrayLike<number> },
  ): Promise<A>;
  /** Resolves when every rank has called it. */
  barrier(options?: CallOptions): Promise<void>;
  /** Sends to one rank; the receiver calls `receive` with the same tag. */
  send(array: DtypeArray, options: CallOptions & { to: number; tag?: number }): Promise<void>;
  /** Receives at most `array.length` elements; resolves to the filled part of `array`. */
  receive<A extends DtypeArray>(array: A, options: CallOptions & { from: number; tag?: number }): Promise<A>;

  /** Collective: groups ranks of equal `color`, ordered by `key` then rank; a negative color joins no group and gets undefined. */
  split(color: number, key?: number, options?: WaitOptions): Promise<Communicator | undefined>;
  /** Collective: the same ranks with independent channels and counters. */
  dup(options?: WaitOptions): Promise<Communicator>;
  /** Collective over the survivors of a failure: a communicator of them, in ascending old rank. */
  shrink(options?: WaitOptions): Promise<Communicator>;
  /** Blocking forms of the three, for ranks in their own thread or process. */
  splitSync(color: number, key?: number, options?: RunOptions): Communicator | undefined;
  /** Blocking `dup`. */
  dupSync(options?: RunOptions): Communicator;
  /** Blocking `shrink`. */
  shrinkSync(options?: RunOptions): Communicator;

  /** Replaces what `auto` chooses by, for later plans; the same fit on every rank (plans check that). New groups inherit it. */
  setFit(fit: LinkFit): void;
  /** Traffic of this rank in this communicator. */
  counters(): TrafficCounters;
  /** Frees plans and the transport. Not collective, but peers that still wait for this rank fail. Idempotent. */
  close(): void;
}
