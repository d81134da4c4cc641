import type { Pending } from '../communicator/transport.js';
import { CollectivesError } from '../errors.js';
import { Group } from './group.js';
import {
  GROUP_SUCCESSOR,
  MEMBER_AGREED,
  MEMBER_LENGTH,
  MEMBER_PAYLOAD,
  MEMBER_SHRINKS,
  MEMBER_SPLIT_BLOCK,
  MEMBER_SPLITS,
} from './layout.js';
import type { WorkerRank } from './rank.js';

const AGREEMENT_BYTES = 1 << 20;

/** Gathers one payload of each member. Each member's payload lies in its own heap until the agreement after the next begins. */
export class Agreements {
  readonly #rank: WorkerRank;
  readonly #group: Group;
  readonly #address: number[] = [0, 0];
  readonly #capacity: number[] = [0, 0];
  #count: number = 0;

  constructor(rank: WorkerRank, group: Group) {
    this.#rank = rank;
    this.#group = group;
  }

  begin(payload: Uint8Array): Pending<readonly Uint8Array[]> {
    if (payload.byteLength > AGREEMENT_BYTES) {
      throw new CollectivesError({
        code: 'collectives/bad-shape',
        message: `expected at most ${AGREEMENT_BYTES} bytes to agree on, got ${payload.byteLength}`,
        value: payload.byteLength,
        remedy: 'exchange data with a collective operation',
      });
    }
    const words = this.#rank.words;
    const count = (this.#count + 1) | 0;
    const half = count & 1;
    // Every member has read the payload before the last one: it began the agreement after that.
    if ((this.#capacity[half] as number) < payload.byteLength) {
      const capacity = Math.max(1024, payload.byteLength);
      const address = this.#rank.allocateDirty(capacity);
      if (this.#capacity[half] !== 0) this.#rank.heap.release(this.#address[half] as number);
      this.#address[half] = address;
      this.#capacity[half] = capacity;
    }
    this.#count = count;
    const address = this.#address[half] as number;
    this.#rank.bytes.set(payload, address);
    const line = this.#group.member(this.#group.index);
    words[line + MEMBER_PAYLOAD + half] = address | 0;
    words[line + MEMBER_LENGTH + half] = payload.byteLength;
    Atomics.store(words, line + MEMBER_AGREED, count);
    signalMembers(this.#rank, this.#group);
    return new Agreement(this.#rank, this.#group, count);
  }

  /** Leaves the payloads to the members that still read them. */
  close(): void {
    for (const half of [0, 1])
      if (this.#capacity[half] !== 0) this.#group.keep(this.#address[half] as number);
  }
}

class Agreement implements Pending<readonly Uint8Array[]> {
  readonly #rank: WorkerRank;
  readonly #group: Group;
  readonly #count: number;
  #payloads: readonly Uint8Array[] | undefined;

  constructor(rank: WorkerRank, group: Group, count: number) {
    this.#rank = rank;
    this.#group = group;
    this.#count = count;
  }

  test(): boolean {
    if (this.#payloads !== undefined) return true;
    for (let member = 0; member < this.#group.size; member++) if (!this.#has(member)) return false;
    const words = this.#rank.words;
    const half = this.#count & 1;
    this.#payloads = Array.from({ length: this.#group.size }, (_, member) => {
      const line = this.#group.member(member);
      const address = (words[line + MEMBER_PAYLOAD + half] as number) >>> 0;
      return this.#rank.bytes.slice(address, address + (words[line + MEMBER_LENGTH + half] as number));
    });
    return true;
  }

  result(): readonly Uint8Array[] {
    return this.#payloads as readonly Uint8Array[];
  }

  missing(): readonly number[] {
    if (this.#payloads !== undefined) return [];
    return Array.from({ length: this.#group.size }, (_, member) => member).filter((m) => !this.#has(m));
  }

  #has(member: number): boolean {
    const agreed = Atomics.load(this.#rank.words, this.#group.member(member) + MEMBER_AGREED);
    return ((agreed - this.#count) | 0) >= 0;
  }
}

/** Makes or finds the block of a new group; its first member lays it out. */
export class SplitPending<T> implements Pending<T | undefined> {
  readonly #rank: WorkerRank;
  readonly #group: Group;
  readonly #leader: number;
  readonly #count: number;
  readonly #open: (group: Group) => T;
  #result: T | undefined;
  #done: boolean = false;

  /** `count` numbers the splits of the group; `members` may be empty. */
  constructor(
    rank: WorkerRank,
    group: Group,
    members: readonly number[],
    count: number,
    open: (group: Group) => T,
  ) {
    this.#rank = rank;
    this.#group = group;
    this.#count = count;
    this.#open = open;
    this.#leader = members[0] ?? -1;
    if (this.#leader < 0) {
      this.#done = true;
    } else if (this.#leader === group.index) {
      const address = Group.create(
        rank,
        members.map((member) => group.worldRanks[member] as number),
      );
      const line = group.member(group.index);
      rank.words[line + MEMBER_SPLIT_BLOCK] = address | 0;
      Atomics.store(rank.words, line + MEMBER_SPLITS, count);
      signalMembers(rank, group);
      this.#finish(address);
    }
  }

  test(): boolean {
    if (!this.#done && this.missing().length === 0) {
      const line = this.#group.member(this.#leader);
      this.#finish((this.#rank.words[line + MEMBER_SPLIT_BLOCK] as number) >>> 0);
    }
    return this.#done;
  }

  result(): T | undefined {
    return this.#result;
  }

  missing(): readonly number[] {
    if (this.#done) return [];
    const splits = Atomics.load(this.#rank.words, this.#group.member(this.#leader) + MEMBER_SPLITS);
    return ((splits - this.#count) | 0) >= 0 ? [] : [this.#leader];
  }

  #finish(address: number): void {
    this.#result = this.#open(new Group(this.#rank, address));
    this.#done = true;
  }
}

/**
 * Waits until every member that is not known to have failed asks for it; then the first of these proposes the survivors, and
 * whichever proposal comes first holds for all.
 */
export class ShrinkPending<T> implements Pending<T> {
  readonly #rank: WorkerRank;
  readonly #group: Group;
  readonly #open: (group: Group) => T;
  #result: T | undefined;

  constructor(rank: WorkerRank, group: Group, open: (group: Group) => T) {
    this.#rank = rank;
    this.#group = group;
    this.#open = open;
    Atomics.store(rank.words, group.member(group.index) + MEMBER_SHRINKS, 1);
    signalMembers(rank, group);
  }

  test(): boolean {
    if (this.#result !== undefined) return true;
    const decided = this.#group.header(GROUP_SUCCESSOR);
    let address = Atomics.load(this.#rank.words, decided) >>> 0;
    if (address === 0) {
      this.#needAlive();
      if (this.missing().length > 0) return false;
      const survivors = this.#members((member) => this.#group.mayShrink(member));
      if (survivors[0] !== this.#group.index) return false;
      const mine = Group.create(
        this.#rank,
        survivors.map((member) => this.#group.worldRanks[member] as number),
      );
      address = Atomics.compareExchange(this.#rank.words, decided, 0, mine | 0) >>> 0;
      if (address === 0) address = mine;
      else this.#rank.heap.release(mine);
      signalMembers(this.#rank, this.#group);
    }
    const group = new Group(this.#rank, address);
    if (group.index < 0) throw this.#excluded();
    this.#result = this.#open(group);
    return true;
  }

  result(): T {
    return this.#result as T;
  }

  missing(): readonly number[] {
    if (this.#result !== undefined) return [];
    return this.#members((member) => this.#group.mayShrink(member) && !this.#group.shrinks(member));
  }

  #members(keep: (member: number) => boolean): number[] {
    return Array.from({ length: this.#group.size }, (_, member) => member).filter(keep);
  }

  #needAlive(): void {
    if (this.#group.failed(this.#group.index)) throw this.#excluded();
  }

  #excluded(): CollectivesError {
    return new CollectivesError({
      code: 'collectives/closed',
      message: `rank ${this.#group.index} was declared failed; the others continue without it`,
      value: this.#group.index,
      remedy: 'end this thread and start a new group',
    });
  }
}

/** Wakes members that wait for what this rank has just stored. */
export function signalMembers(rank: WorkerRank, group: Group): void {
  for (let member = 0; member < group.size; member++) {
    if (member !== group.index) rank.signal(rank.sleepingWord(group.worldRanks[member] as number));
  }
}
