import {
  CHUNK_BYTES,
  CLOSED,
  chunkWord,
  EXITED,
  GROUP_CHANGES,
  GROUP_SIZE,
  groupBytes,
  MEMBER_MISSED,
  MEMBER_SHRINKS,
  MEMBER_STATE,
  memberWord,
  OPEN,
  RANK_FAILED,
  RANK_STATE,
  rankWord,
  SWEPT,
  slotWord,
  worldRankWord,
} from './layout.js';
import type { WorkerRank } from './rank.js';

/** One rank's view of a group block. */
export class Group {
  readonly address: number;
  readonly size: number;
  /** This rank's number in the group. */
  readonly index: number;
  /** World rank of each member. */
  readonly worldRanks: readonly number[];
  readonly #rank: WorkerRank;
  readonly #words: Int32Array;
  readonly #word: number;
  /** Memory of this rank's heap that peers may read until all members have closed. */
  readonly #kept: number[] = [];
  readonly #ownsBlock: boolean;

  constructor(rank: WorkerRank, address: number) {
    this.#rank = rank;
    this.#words = rank.words;
    this.address = address;
    this.#word = address / 4;
    this.size = this.#words[this.#word + GROUP_SIZE] as number;
    this.worldRanks = Array.from(
      { length: this.size },
      (_, member) => this.#words[worldRankWord(this.#word, this.size, member)] as number,
    );
    this.index = this.worldRanks.indexOf(rank.rank);
    this.#ownsBlock = rank.heap.owns(address);
  }

  /** Lays out the block of a new group in this rank's heap; returns its address. */
  static create(rank: WorkerRank, worldRanks: readonly number[]): number {
    const size = worldRanks.length;
    const address = rank.allocate(groupBytes(size));
    rank.words[address / 4 + GROUP_SIZE] = size;
    worldRanks.forEach((worldRank, member) => {
      rank.words[worldRankWord(address / 4, size, member)] = worldRank;
    });
    return address;
  }

  /** Word of a member's line. */
  member(member: number): number {
    return memberWord(this.#word, member);
  }

  /** Word of a field of the header. */
  header(field: number): number {
    return this.#word + field;
  }

  /** Word of the slot of a channel; whichever end opens first makes the chunk it lies in. */
  slot(sender: number, receiver: number, tag: number): number {
    const entry = chunkWord(this.#word, this.size, sender, receiver, tag);
    let chunk = Atomics.load(this.#words, entry) >>> 0;
    if (chunk === 0) {
      const mine = this.#rank.allocate(CHUNK_BYTES);
      chunk = Atomics.compareExchange(this.#words, entry, 0, mine) >>> 0;
      if (chunk === 0) {
        chunk = mine;
        this.#kept.push(mine);
      } else {
        this.#rank.heap.release(mine);
      }
    }
    return slotWord(chunk, tag);
  }

  /** Leaves `address` of this rank's heap to the peers until the group is over. */
  keep(address: number): void {
    this.#kept.push(address);
  }

  /** Whether a member failed. */
  failed(member: number): boolean {
    const record = rankWord(this.#rank.world, this.worldRanks[member] as number);
    return Atomics.load(this.#words, record + RANK_FAILED) !== 0;
  }

  /** Whether a member has left: closed this group, or ended its thread cleanly. */
  left(member: number): boolean {
    const record = rankWord(this.#rank.world, this.worldRanks[member] as number);
    return (
      Atomics.load(this.#words, this.member(member) + MEMBER_STATE) >= CLOSED ||
      Atomics.load(this.#words, record + RANK_STATE) >= EXITED
    );
  }

  /** Whether a member takes part in shrinking: it did not fail, and did not leave without asking for it. */
  mayShrink(member: number): boolean {
    if (this.failed(member)) return false;
    return this.shrinks(member) || !this.left(member);
  }

  /** Whether a member asked to shrink. */
  shrinks(member: number): boolean {
    return Atomics.load(this.#words, this.member(member) + MEMBER_SHRINKS) !== 0;
  }

  /** Says that this rank sends and takes nothing any more; peers do not trust what it left behind. */
  setState(state: number): void {
    const word = this.member(this.index) + MEMBER_STATE;
    if (Atomics.load(this.#words, word) >= state) return;
    Atomics.store(this.#words, word, state);
    if (state !== CLOSED) return;
    this.#changed();
  }

  /** Whether a member had left when another still expected something of it. */
  missed(member: number): boolean {
    return Atomics.load(this.#words, this.member(member) + MEMBER_MISSED) !== 0;
  }

  /** Tells all members that this rank misses one that has left: they may wait for this rank in turn. */
  miss(member: number): void {
    if (Atomics.exchange(this.#words, this.member(member) + MEMBER_MISSED, 1) === 0) this.#changed();
  }

  #changed(): void {
    Atomics.add(this.#words, this.header(GROUP_CHANGES), 1);
    for (let member = 0; member < this.size; member++) {
      if (member !== this.index)
        this.#rank.signal(this.#rank.sleepingWord(this.worldRanks[member] as number));
    }
  }

  /** Whether this rank still takes part. */
  get open(): boolean {
    return Atomics.load(this.#words, this.member(this.index) + MEMBER_STATE) === OPEN;
  }

  /**
   * Frees what this rank kept for the group once every member has closed or its thread has ended (one that was declared failed may
   * still come back and write), and the block after all have done so. Returns whether nothing is left to free.
   */
  sweep(): boolean {
    if (this.#kept.length > 0) {
      if (!this.#all(CLOSED)) return false;
      for (const address of this.#kept) this.#rank.heap.release(address);
      this.#kept.length = 0;
    }
    Atomics.store(this.#words, this.member(this.index) + MEMBER_STATE, SWEPT);
    if (!this.#ownsBlock) return true;
    if (!this.#all(SWEPT)) return false;
    this.#rank.heap.release(this.address);
    return true;
  }

  #all(state: number): boolean {
    for (let member = 0; member < this.size; member++) {
      const record = rankWord(this.#rank.world, this.worldRanks[member] as number);
      if (
        Atomics.load(this.#words, this.member(member) + MEMBER_STATE) < state &&
        Atomics.load(this.#words, record + RANK_STATE) < EXITED
      ) {
        return false;
      }
    }
    return true;
  }
}
