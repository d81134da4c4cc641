import { Arena, ReduceKernels } from '@moestack/kernels';
import { CollectivesError } from '../errors.js';
import type { Group } from './group.js';
import { SegmentHeap } from './heap.js';
import {
  ATTACHED,
  EXITED,
  NOT_ATTACHED,
  RANK_ACTIVITY,
  RANK_SLEEPING,
  RANK_STATE,
  rankWord,
} from './layout.js';
import { markEnded } from './signals.js';
import { sleepUntil } from './sleep.js';
import { SpinPolicy } from './spin-policy.js';
import type { WorkerHandle } from './world.js';

/** Polls between two blocks of a rank that was woken for nothing. */
const RESPIN_POLLS = 50;
/** Turns of the event loop that an asynchronous waiter takes before it sleeps. */
const ASYNC_TURNS = 20;
/** Longest sleep: bounds the harm of a wake-up that never comes, at next to no cost. */
const SLEEP_MILLISECONDS = 500;

/** Size of the pieces in which private operands of a reduction pass through shared memory. */
export const BOUNCE_BYTES: number = 1 << 15;

const attached = new Set<WorkerRank>();

let lastError: unknown;

// A rank that leaves without closing tells its peers at once, also when nobody watches its thread.
function onExit(code: number): void {
  const reason =
    lastError === undefined
      ? `its thread ended with exit code ${code}`
      : `its thread threw ${String(lastError)}`;
  for (const rank of [...attached]) rank.leave(code === 0, reason);
}

function onError(error: unknown): void {
  lastError = error;
}

/** What one thread holds as a rank of a world: its heap, kernels, and how it sleeps and wakes others. */
export class WorkerRank {
  readonly rank: number;
  readonly ranks: number;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  readonly memory: ArrayBufferLike;
  readonly heap: SegmentHeap;
  readonly kernels: ReduceKernels;
  /** Word of the world block. */
  readonly world: number;
  readonly #activity: number;
  readonly #sleeping: number;
  readonly #spinning: SpinPolicy;
  /** Whether peers knew that this rank was about to sleep when it began its last poll. */
  #armedBeforePoll: boolean = false;
  #asyncSleepers: number = 0;
  #spinUntil: number = 0;
  #transports: number = 0;
  /** Closed groups whose memory peers may still read. */
  readonly #graveyard: Group[] = [];
  #bounce: number = 0;

  constructor(handle: WorkerHandle) {
    const memory = handle.memory.buffer;
    this.rank = handle.rank;
    this.ranks = handle.ranks;
    this.memory = memory;
    this.words = new Int32Array(memory);
    this.bytes = new Uint8Array(memory);
    this.world = handle.worldOffset / 4;
    const record = rankWord(this.world, handle.rank);
    const before = Atomics.compareExchange(this.words, record + RANK_STATE, NOT_ATTACHED, ATTACHED);
    if (before !== NOT_ATTACHED) {
      throw new CollectivesError({
        code: 'collectives/bad-config',
        message: `rank ${handle.rank} is attached already${before === EXITED ? ' and has ended' : ''}`,
        value: handle.rank,
        remedy: 'attach each rank once, on one thread; use dup() or split() for further communicators',
      });
    }
    const start = handle.heapOffset + handle.rank * handle.bytesPerRank;
    this.heap = new SegmentHeap(memory, start, start + handle.bytesPerRank);
    this.kernels = new ReduceKernels(Arena.attach(handle.memory));
    this.#activity = record + RANK_ACTIVITY;
    this.#sleeping = record + RANK_SLEEPING;
    this.#spinning = new SpinPolicy(handle.spinPolls);
    if (attached.size === 0) process.on('exit', onExit).on('uncaughtExceptionMonitor', onError);
    attached.add(this);
  }

  /** Zeroed memory of this rank. */
  allocate(bytes: number): number {
    if (this.#graveyard.length > 0) this.#sweep();
    return this.heap.allocate(bytes);
  }

  /** Memory of this rank that holds whatever it held. */
  allocateDirty(bytes: number): number {
    if (this.#graveyard.length > 0) this.#sweep();
    return this.heap.allocateDirty(bytes);
  }

  /** Counts a transport of this rank. */
  opened(): void {
    this.#transports++;
  }

  /** A transport of this rank was closed; after the last one the rank has left the world for good. */
  closed(group: Group): void {
    this.#graveyard.push(group);
    this.#sweep();
    if (--this.#transports > 0) return;
    this.leave(true, '');
  }

  /** The thread ends: cleanly, so that only those that wait for this rank fail, or not. */
  leave(clean: boolean, reason: string): void {
    this.#forget();
    markEnded(this.words, this.world, this.ranks, this.rank, clean, reason);
  }

  #sweep(): void {
    for (let i = this.#graveyard.length - 1; i >= 0; i--) {
      if ((this.#graveyard[i] as Group).sweep()) this.#graveyard.splice(i, 1);
    }
  }

  #forget(): void {
    attached.delete(this);
    if (attached.size === 0) process.off('exit', onExit).off('uncaughtExceptionMonitor', onError);
  }

  /** Address of a view of the shared memory, -1 for any other array. */
  addressOf(view: Uint8Array): number {
    return view.buffer === this.memory ? view.byteOffset : -1;
  }

  /** Address of three pieces of {@link BOUNCE_BYTES} for operands that lie elsewhere; used within one call only. */
  bounce(): number {
    if (this.#bounce === 0) this.#bounce = this.allocateDirty(3 * BOUNCE_BYTES);
    return this.#bounce;
  }

  /** Changes whenever this rank was woken. */
  activity(): number {
    // In this order: a peer takes the mark away and then changes the number, so with the mark still set this number is outdated
    // by any peer that will not look for the mark again.
    const token = Atomics.load(this.words, this.#activity);
    this.#armedBeforePoll = Atomics.load(this.words, this.#sleeping) !== 0;
    return token;
  }

  /** Word to pass to {@link WorkerRank.signal}. */
  sleepingWord(rank: number): number {
    return rankWord(this.world, rank) + RANK_SLEEPING;
  }

  /** Wakes a rank if it is asleep or about to be; to be called after what it waits for was stored. */
  signal(sleeping: number): void {
    if (Atomics.load(this.words, sleeping) !== 0) this.#wake(sleeping);
  }

  #wake(sleeping: number): void {
    // Taking the mark away spares the next peer the system call: the sleeper sets it again before it sleeps again.
    if (Atomics.exchange(this.words, sleeping, 0) === 0) return;
    const activity = sleeping - RANK_SLEEPING + RANK_ACTIVITY;
    Atomics.add(this.words, activity, 1);
    Atomics.notify(this.words, activity);
  }

  /**
   * Spins, then blocks. A rank blocks only after a poll that came after its sleeping word was set, and peers look at that word after
   * they have stored something; so either the poll finds it, or the peer wakes this rank.
   */
  pause(token: number, attempt: number, maxSeconds: number): void {
    if (attempt === 0) this.#spinUntil = this.#spinning.begin();
    if (attempt < this.#spinUntil) return;
    if (!this.#armedBeforePoll) {
      Atomics.store(this.words, this.#sleeping, 1);
      return;
    }
    this.#spinning.sleep();
    Atomics.wait(this.words, this.#activity, token, Math.min(maxSeconds * 1e3, SLEEP_MILLISECONDS));
    this.#disarm();
    this.#spinUntil = attempt + RESPIN_POLLS;
  }

  /** As `pause`, on the event loop. */
  async pauseAsync(token: number, attempt: number, maxSeconds: number): Promise<void> {
    if (attempt < ASYNC_TURNS || !this.#armedBeforePoll) {
      if (attempt >= ASYNC_TURNS) Atomics.store(this.words, this.#sleeping, 1);
      await new Promise<void>((resolve) => void setImmediate(resolve));
      return;
    }
    this.#asyncSleepers++;
    try {
      await sleepUntil(this.words, this.#activity, token, Math.min(maxSeconds * 1e3, SLEEP_MILLISECONDS));
    } finally {
      this.#asyncSleepers--;
      this.#disarm();
    }
  }

  #disarm(): void {
    if (this.#asyncSleepers === 0) Atomics.store(this.words, this.#sleeping, 0);
  }
}
