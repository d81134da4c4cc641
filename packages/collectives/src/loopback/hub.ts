import { PrefixView } from '../communicator/prefix-view.js';
import type { Topology } from '../communicator/topology.js';
import { subTopology } from '../communicator/topology.js';

/** Both ends of a channel between two ranks of one thread. */
export class Link {
  source: Uint8Array | undefined;
  target: Uint8Array | undefined;
  /** Bytes offered by an active send, or -1. */
  offered: number = -1;
  /** Whether a receive is active. */
  posted: boolean = false;
  /** Bytes of the last message, or of one that did not fit. */
  moved: number = 0;
  tooLong: boolean = false;
  readonly #part: PrefixView = new PrefixView();

  /** Copies when both ends are active; returns whether it did. */
  meet(): boolean {
    if (this.offered < 0 || !this.posted) return false;
    const source = this.source as Uint8Array;
    const target = this.target as Uint8Array;
    this.moved = this.offered;
    this.tooLong = this.offered > target.length;
    if (!this.tooLong) target.set(this.#part.of(source, this.offered));
    this.offered = -1;
    this.posted = false;
    return true;
  }
}

/** Payloads of one agreement. */
export interface Round {
  readonly payloads: (Uint8Array | undefined)[];
  arrived: number;
}

/** What all ranks of a loopback world share. */
export class World {
  /** World ranks that failed, with reasons. */
  readonly failed: Map<number, string> = new Map();
  /** Changes whenever anything happens. */
  activity: number = 0;
  readonly now: () => number;
  #waiters: (() => void)[] = [];

  constructor(now: () => number) {
    this.now = now;
  }

  bump(): void {
    this.activity = (this.activity + 1) | 0;
    if (this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }

  onActivity(wake: () => void): void {
    this.#waiters.push(wake);
  }
}

/** One group of ranks of a world. */
export class Group {
  readonly world: World;
  /** World rank of each rank. */
  readonly members: readonly number[];
  readonly topology: Topology;
  /** Ranks that closed their communicator of this group. */
  readonly closed: Set<number> = new Set();
  readonly #links = new Map<string, Link>();
  readonly #rounds: Round[] = [];
  readonly #children = new Map<string, Group>();
  readonly #shrinks: { arrived: Set<number>; group: Group | undefined }[] = [];

  constructor(world: World, members: readonly number[], topology: Topology) {
    this.world = world;
    this.members = members;
    this.topology = topology;
  }

  link(from: number, to: number, tag: number): Link {
    const key = `${from} ${to} ${tag}`;
    let link = this.#links.get(key);
    if (link === undefined) this.#links.set(key, (link = new Link()));
    return link;
  }

  /** The `index`-th agreement. */
  round(index: number): Round {
    let round = this.#rounds[index];
    if (round === undefined) {
      this.#rounds[index] = round = {
        payloads: new Array<undefined>(this.members.length).fill(undefined),
        arrived: 0,
      };
    }
    return round;
  }

  /** The group that the `index`-th split makes of `ranks`. */
  child(index: number, ranks: readonly number[]): Group {
    const key = `${index}:${ranks.join(',')}`;
    let child = this.#children.get(key);
    if (child === undefined) {
      const members = ranks.map((rank) => this.members[rank] as number);
      child = new Group(this.world, members, subTopology(this.topology, ranks));
      this.#children.set(key, child);
    }
    return child;
  }

  /** The `index`-th shrink: complete when all ranks that have not failed called it. */
  shrink(index: number): { arrived: Set<number>; group: Group | undefined } {
    let shrink = this.#shrinks[index];
    if (shrink === undefined) this.#shrinks[index] = shrink = { arrived: new Set(), group: undefined };
    return shrink;
  }

  isAlive(rank: number): boolean {
    return !this.closed.has(rank) && !this.world.failed.has(this.members[rank] as number);
  }
}
