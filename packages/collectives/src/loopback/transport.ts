import { TrafficCounters } from '../communicator/counters.js';
import type { Topology } from '../communicator/topology.js';
import type {
  Pending,
  ReceiveChannel,
  SendChannel,
  Transport,
  TransportFailure,
} from '../communicator/transport.js';
import { messageTooLong } from '../errors.js';
import type { Group, Link } from './hub.js';

const TAG_LIMIT = 1 << 20;
/** Polls that only let the event loop turn; later ones sleep until something happens. */
const EAGER_POLLS = 100;
const LONGEST_SLEEP_SECONDS = 0.25;

/** Ranks of one thread: messages are plain copies, made when both ends are there. */
export class LoopbackTransport implements Transport {
  readonly kind = 'loopback';
  readonly rank: number;
  readonly counters: TrafficCounters;
  readonly tagLimit: number = TAG_LIMIT;
  readonly canBlock = false;
  readonly #group: Group;
  #agreements = 0;
  #splits = 0;
  #shrinks = 0;
  #failure: TransportFailure | undefined;
  #failuresSeen = 0;

  constructor(group: Group, rank: number) {
    this.#group = group;
    this.rank = rank;
    this.counters = new TrafficCounters(rank, group.topology);
  }

  get size(): number {
    return this.#group.members.length;
  }

  get topology(): Topology {
    return this.#group.topology;
  }

  allocate(bytes: number): Uint8Array {
    return new Uint8Array(bytes);
  }

  release(): void {}

  openSend(peer: number, tag: number, source: Uint8Array): SendChannel {
    const link = this.#group.link(this.rank, peer, tag);
    link.source = source;
    return new LoopbackSend(this.#group, link, peer, source.length, this.counters);
  }

  openReceive(peer: number, tag: number, target: Uint8Array): ReceiveChannel {
    const link = this.#group.link(peer, this.rank, tag);
    link.target = target;
    return new LoopbackReceive(this.#group, link, peer, target.length, this.counters);
  }

  agree(payload: Uint8Array): Pending<readonly Uint8Array[]> {
    const round = this.#group.round(this.#agreements++);
    round.payloads[this.rank] = new Uint8Array(payload);
    round.arrived++;
    this.#group.world.bump();
    return {
      test: () => round.arrived === this.size,
      result: () => round.payloads as Uint8Array[],
      missing: () => round.payloads.flatMap((entry, rank) => (entry === undefined ? [rank] : [])),
    };
  }

  split(members: readonly number[]): Pending<Transport | undefined> {
    const index = this.#splits++;
    const me = members.indexOf(this.rank);
    const transport = me < 0 ? undefined : new LoopbackTransport(this.#group.child(index, members), me);
    return { test: () => true, result: () => transport, missing: () => [] };
  }

  shrink(): Pending<Transport> {
    const shrink = this.#group.shrink(this.#shrinks++);
    shrink.arrived.add(this.rank);
    this.#group.world.bump();
    const ranks = Array.from({ length: this.size }, (_, rank) => rank);
    const missing = (): number[] =>
      ranks.filter((rank) => this.#group.isAlive(rank) && !shrink.arrived.has(rank));
    return {
      test: () => {
        if (shrink.group === undefined && missing().length === 0) {
          const survivors = ranks.filter((rank) => this.#group.isAlive(rank));
          shrink.group = this.#group.child(-1 - this.#shrinks, survivors);
          this.#group.world.bump();
        }
        return shrink.group !== undefined;
      },
      result: () => {
        const group = shrink.group as Group;
        return new LoopbackTransport(group, group.members.indexOf(this.#group.members[this.rank] as number));
      },
      missing,
    };
  }

  progress(): void {}

  activity(): number {
    return this.#group.world.activity;
  }

  pause(): void {}

  pauseAsync(token: number, attempt: number, maxSeconds: number): Promise<void> {
    const { world } = this.#group;
    return new Promise((resolve) => {
      if (world.activity !== token || attempt < EAGER_POLLS) {
        setImmediate(resolve);
        return;
      }
      const timer = setTimeout(resolve, Math.min(maxSeconds, LONGEST_SLEEP_SECONDS) * 1000);
      world.onActivity(() => {
        clearTimeout(timer);
        setImmediate(resolve);
      });
    });
  }

  now(): number {
    return this.#group.world.now();
  }

  failure(): TransportFailure | undefined {
    const { failed } = this.#group.world;
    const { closed } = this.#group;
    if (failed.size + closed.size !== this.#failuresSeen) {
      this.#failuresSeen = failed.size + closed.size;
      const ranks: number[] = [];
      let reason = '';
      this.#group.members.forEach((member, rank) => {
        const why = rank === this.rank ? undefined : failed.get(member);
        if (why === undefined) return;
        ranks.push(rank);
        reason ||= why;
      });
      const departed = [...closed].filter((rank) => rank !== this.rank && !ranks.includes(rank));
      if (ranks.length + departed.length > 0) this.#failure = { ranks, reason, departed };
    }
    return this.#failure;
  }

  fail(ranks: readonly number[], reason: string): void {
    for (const rank of ranks) {
      const member = this.#group.members[rank] as number;
      if (!this.#group.world.failed.has(member)) this.#group.world.failed.set(member, reason);
    }
    this.#group.world.bump();
  }

  abandon(): void {}

  close(): void {
    this.#group.closed.add(this.rank);
    this.#group.world.bump();
  }
}

class LoopbackSend implements SendChannel {
  readonly peer: number;
  transferredBytes = 0;
  readonly #group: Group;
  readonly #link: Link;
  readonly #length: number;
  readonly #counters: TrafficCounters;
  #active = false;

  constructor(group: Group, link: Link, peer: number, length: number, counters: TrafficCounters) {
    this.#group = group;
    this.#link = link;
    this.peer = peer;
    this.#length = length;
    this.#counters = counters;
  }

  start(bytes: number = this.#length): void {
    this.transferredBytes = bytes;
    this.#active = true;
    this.#link.offered = bytes;
    if (this.#link.meet()) this.#group.world.bump();
  }

  test(): boolean {
    if (!this.#active) return true;
    if (this.#link.offered >= 0) return false;
    this.#active = false;
    this.#counters.countSend(this.peer, this.transferredBytes);
    return true;
  }

  close(): void {
    this.#link.offered = -1;
    this.#link.source = undefined;
  }
}

class LoopbackReceive implements ReceiveChannel {
  readonly peer: number;
  transferredBytes = 0;
  readonly #group: Group;
  readonly #link: Link;
  readonly #length: number;
  readonly #counters: TrafficCounters;
  #active = false;

  constructor(group: Group, link: Link, peer: number, length: number, counters: TrafficCounters) {
    this.#group = group;
    this.#link = link;
    this.peer = peer;
    this.#length = length;
    this.#counters = counters;
  }

  start(): void {
    this.#active = true;
    this.#link.posted = true;
    if (this.#link.meet()) this.#group.world.bump();
  }

  test(): boolean {
    if (!this.#active) return true;
    if (this.#link.posted) return false;
    this.#active = false;
    if (this.#link.tooLong) throw messageTooLong(this.peer, this.#link.moved, this.#length);
    this.transferredBytes = this.#link.moved;
    this.#counters.countReceive(this.peer, this.transferredBytes);
    return true;
  }

  close(): void {
    this.#link.posted = false;
    this.#link.target = undefined;
  }
}
