import type { TrafficCounters } from '../communicator/counters.js';
import type { ReceiveChannel, SendChannel } from '../communicator/transport.js';
import { type CollectivesError, MismatchError } from '../errors.js';
import type { Group } from './group.js';
import {
  ABANDONED,
  MEMBER_STATE,
  OPEN,
  SLOT_ADDRESS,
  SLOT_BYTES,
  SLOT_POSTED,
  SLOT_REFUSED,
  SLOT_TAKEN,
} from './layout.js';
import type { WorkerRank } from './rank.js';
import type { KernelReduction } from './reduction.js';

/** Position in its list of a channel that is not active. */
const IDLE = -1;

/** Channels of one direction that are active, in no order; in the long run, adding and removing allocate nothing. */
export class ActiveList<T extends { position: number }> {
  readonly items: T[] = [];

  add(item: T): void {
    item.position = this.items.length;
    this.items.push(item);
  }

  remove(item: T): void {
    const last = this.items.pop() as T;
    if (last !== item) {
      this.items[item.position] = last;
      last.position = item.position;
    }
    item.position = IDLE;
  }
}

/** What the channels of one transport share. */
export interface ChannelContext {
  readonly rank: WorkerRank;
  readonly group: Group;
  readonly counters: TrafficCounters;
  readonly sends: ActiveList<WorkerSend>;
  readonly receives: ActiveList<WorkerReceive>;
  /** Shared copies of private sources. */
  readonly staging: Set<number>;
}

/**
 * The sender posts where its bytes lie; the receiver copies (or reduces) them from there and says so. Thus only the thread that owns a target
 * ever writes it, and a message crosses the memory once. Small messages take this way too: copying them into a mailbox first, to spare the
 * sender the wait, measured slower from 256 bytes on and no faster below.
 */
export class WorkerSend implements SendChannel {
  readonly peer: number;
  transferredBytes: number = 0;
  position: number = IDLE;
  readonly #context: ChannelContext;
  readonly #rank: WorkerRank;
  readonly #words: Int32Array;
  readonly #slot: number;
  readonly #sleeping: number;
  readonly #source: Uint8Array;
  readonly #length: number;
  /** Where the peer finds the bytes: the source, or a shared copy of it. */
  readonly #address: number;
  readonly #staged: boolean;
  #posted: number;
  #closed: boolean = false;

  constructor(context: ChannelContext, peer: number, tag: number, source: Uint8Array) {
    const { rank, group } = context;
    this.peer = peer;
    this.#context = context;
    this.#rank = rank;
    this.#words = rank.words;
    this.#slot = group.slot(group.index, peer, tag);
    this.#sleeping = rank.sleepingWord(group.worldRanks[peer] as number);
    this.#source = source;
    this.#length = source.byteLength;
    const address = rank.addressOf(source);
    this.#staged = address < 0;
    this.#address = this.#staged ? rank.allocateDirty(source.byteLength) : address;
    if (this.#staged) context.staging.add(this.#address);
    this.#posted = Atomics.load(this.#words, this.#slot + SLOT_POSTED);
  }

  start(bytes: number = this.#length): void {
    if (!(bytes >= 0 && bytes <= this.#length)) throw overrun(this.peer, bytes, this.#length);
    if (this.#staged) {
      const source = bytes === this.#length ? this.#source : this.#source.subarray(0, bytes);
      this.#rank.bytes.set(source, this.#address);
    }
    this.transferredBytes = bytes;
    const posted = (this.#posted + 1) | 0;
    this.#posted = posted;
    this.#context.sends.add(this);
    const words = this.#words;
    words[this.#slot + SLOT_ADDRESS] = this.#address | 0;
    words[this.#slot + SLOT_BYTES] = bytes | 0;
    Atomics.store(words, this.#slot + SLOT_POSTED, posted);
    this.#rank.signal(this.#sleeping);
  }

  test(): boolean {
    if (this.position === IDLE) return true;
    const words = this.#words;
    if (Atomics.load(words, this.#slot + SLOT_TAKEN) !== this.#posted) return false;
    this.#context.sends.remove(this);
    if (words[this.#slot + SLOT_REFUSED] === this.#posted) {
      throw tooLong(this.#context.group.index, this.peer, this.transferredBytes);
    }
    this.#context.counters.countSend(this.peer, this.transferredBytes);
    return true;
  }

  /** Whether it waits for a peer; of one that has left, for ever. */
  get waits(): boolean {
    return Atomics.load(this.#words, this.#slot + SLOT_TAKEN) !== this.#posted;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.position !== IDLE) {
      // Only of a broken transport: what the peer may be reading can change from now on.
      this.#context.group.setState(ABANDONED);
      this.#context.sends.remove(this);
    }
    if (this.#staged && this.#context.staging.delete(this.#address)) this.#rank.heap.release(this.#address);
  }
}

/** See {@link WorkerSend}. */
export class WorkerReceive implements ReceiveChannel {
  readonly peer: number;
  transferredBytes: number = 0;
  position: number = IDLE;
  readonly #context: ChannelContext;
  readonly #rank: WorkerRank;
  readonly #words: Int32Array;
  readonly #slot: number;
  readonly #sleeping: number;
  /** Word that says whether the peer stands by what it posted. */
  readonly #peerState: number;
  readonly #target: Uint8Array;
  readonly #length: number;
  readonly #address: number;
  readonly #reduction: KernelReduction | undefined;
  /** The last message as bytes, for a target that is not shared. */
  #view: Uint8Array | undefined;
  #expected: number;
  #error: CollectivesError | undefined;

  constructor(
    context: ChannelContext,
    peer: number,
    tag: number,
    target: Uint8Array,
    reduction: KernelReduction | undefined,
  ) {
    const { rank, group } = context;
    this.peer = peer;
    this.#context = context;
    this.#rank = rank;
    this.#words = rank.words;
    this.#slot = group.slot(peer, group.index, tag);
    this.#sleeping = rank.sleepingWord(group.worldRanks[peer] as number);
    this.#peerState = group.member(peer) + MEMBER_STATE;
    this.#target = target;
    this.#length = target.byteLength;
    this.#address = rank.addressOf(target);
    this.#reduction = reduction;
    this.#expected = Atomics.load(this.#words, this.#slot + SLOT_TAKEN);
  }

  start(): void {
    this.#expected = (this.#expected + 1) | 0;
    this.#context.receives.add(this);
  }

  test(): boolean {
    if (this.position !== IDLE && !this.advance()) return false;
    if (this.#error === undefined) return true;
    const error = this.#error;
    this.#error = undefined;
    throw error;
  }

  /** Takes the message of an active channel if it is there; an error is kept for {@link WorkerReceive.test}. */
  advance(): boolean {
    const words = this.#words;
    const slot = this.#slot;
    if (Atomics.load(words, slot + SLOT_POSTED) !== this.#expected) return false;
    const bytes = (words[slot + SLOT_BYTES] as number) >>> 0;
    if (bytes > this.#length) {
      words[slot + SLOT_REFUSED] = this.#expected;
      this.#error = tooLong(this.peer, this.#context.group.index, bytes, this.#length);
    } else {
      this.#move((words[slot + SLOT_ADDRESS] as number) >>> 0, bytes);
      // A sender that broke off may have reused the memory while it was read.
      if (Atomics.load(words, this.#peerState) !== OPEN) return false;
      this.transferredBytes = bytes;
      this.#context.counters.countReceive(this.peer, bytes);
    }
    this.#context.receives.remove(this);
    Atomics.store(words, slot + SLOT_TAKEN, this.#expected);
    this.#rank.signal(this.#sleeping);
    return true;
  }

  /** Whether it waits for a peer; of one that has left, for ever. */
  get waits(): boolean {
    return this.position !== IDLE && !this.advance();
  }

  close(): void {
    if (this.position !== IDLE) this.#context.receives.remove(this);
  }

  #move(address: number, bytes: number): void {
    if (bytes === 0) return;
    if (this.#reduction !== undefined) {
      this.#reduction.runWith(address, bytes);
    } else if (this.#address >= 0) {
      this.#rank.kernels.copyAt(address, this.#address, bytes);
    } else {
      let view = this.#view;
      if (view === undefined || view.byteOffset !== address || view.byteLength !== bytes) {
        view = this.#rank.bytes.subarray(address, address + bytes);
        this.#view = view;
      }
      this.#target.set(view);
    }
  }
}

function overrun(peer: number, bytes: number, room: number): MismatchError {
  return new MismatchError(
    'count',
    [peer],
    `expected at most ${room} bytes to send to rank ${peer}, got ${bytes}`,
  );
}

function tooLong(sender: number, receiver: number, bytes: number, room?: number): MismatchError {
  const most = room === undefined ? 'fewer' : `at most ${room}`;
  return new MismatchError(
    'count',
    [sender],
    `rank ${sender} sent ${bytes} bytes to rank ${receiver}, which expected ${most}`,
  );
}
