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
  MEMBER_SPLIT_DONE,
  MEMBER_SPLIT_LED,
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

/** Splits of one group; the first member of each new group lays out its block. */
export class Splits<T> {
  readonly #rank: WorkerRank;
  readonly #group: Group;
  readonly #open: (group: Group) => T;
  #count: number = 0;
  /** Members of the last split that this rank led, and its number. */
  #led: readonly number[] = [];
  #ledCount: number = 0;

  constructor(rank: WorkerRank, group: Group, open: (group: Group) => T) {
    this.#rank = rank;
    this.#group = group;
    this.#open = open;
  }

  begin(members: readonly number[]): Pending<T | undefined> {
    this.#count++;
    return new SplitPending(this, members, this.#count);
  }

  /** Advances split `count`; gives the ranks that it waits for, or undefined with `finish` called when it is complete. */
  advance(
    members: readonly number[],
    count: number,
    finish: (result: T | undefined) => void,
  ): readonly number[] {
    const { words } = this.#rank;
    const own = this.#group.member(this.#group.index);
    const leader = members[0] ?? -1;
    let result: T | undefined;
    if (leader === this.#group.index) {
      // The last address that this rank published must have been read before it is replaced.
      const late = this.#led.filter((member) =>
        this.#behind(this.#group.member(member) + MEMBER_SPLIT_DONE, this.#ledCount),
      );
      if (late.length > 0) return late;
      const worldRanks = members.map((member) => this.#group.worldRanks[member] as number);
      const address = Group.create(this.#rank, worldRanks);
      words[own + MEMBER_SPLIT_BLOCK] = address | 0;
      Atomics.store(words, own + MEMBER_SPLIT_LED, count);
      this.#led = members;
      this.#ledCount = count;
      result = this.#open(new Group(this.#rank, address));
    } else if (leader >= 0) {
      const line = this.#group.member(leader);
      if (this.#behind(line + MEMBER_SPLIT_LED, count)) return [leader];
      result = this.#open(new Group(this.#rank, (words[line + MEMBER_SPLIT_BLOCK] as number) >>> 0));
    }
    Atomics.store(words, own + MEMBER_SPLIT_DONE, count);
    signalMembers(this.#rank, this.#group);
    finish(result);
    return [];
  }

  #behind(word: number, count: number): boolean {
    return Atomics.load(this.#rank.words, word) < count;
  }
}

class SplitPending<T> implements Pending<T | undefined> {
  readonly #splits: Splits<T>;
  readonly #members: readonly number[];
  readonly #count: number;
  #result: T | undefined;
  #missing: readonly number[] = [];
  #done: boolean = false;

  constructor(splits: Splits<T>, members: readonly number[], count: number) {
    this.#splits = splits;
    this.#members = members;
    this.#count = count;
    this.test();
  }

  test(): boolean {
    if (this.#done) return true;
    this.#missing = this.#splits.advance(this.#members, this.#count, (result) => {
      this.#result = result;
      this.#done = true;
    });
    return this.#done;
  }

  result(): T | undefined {
    return this.#result;
  }

  missing(): readonly number[] {
    return this.test() ? [] : this.#missing;
  }
}

/**
 * Waits until every member that is not known to have failed asks for it, then proposes these; whichever proposal comes first holds
 * for all.
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
function signalMembers(rank: WorkerRank, group: Group): void {
  for (let member = 0; member < group.size; member++) {
    if (member !== group.index) rank.signal(rank.sleepingWord(group.worldRanks[member] as number));
  }
}
