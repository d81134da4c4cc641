import { TrafficCounters } from '../communicator/counters.js';
import type { Dtype, Reduction } from '../communicator/dtype.js';
import { subTopology, type Topology } from '../communicator/topology.js';
import type {
  BoundReduction,
  FusedReduction,
  Pending,
  ReceiveChannel,
  SendChannel,
  Transport,
  TransportFailure,
} from '../communicator/transport.js';
import { CollectivesError } from '../errors.js';
import { ActiveList, type ChannelContext, WorkerReceive, WorkerSend } from './channel.js';
import type { Group } from './group.js';
import { ABANDONED, CLOSED, GROUP_CHANGES, TAG_LIMIT, WORLD_CHANGES } from './layout.js';
import { Agreements, ShrinkPending, Splits } from './pending.js';
import type { WorkerRank } from './rank.js';
import { KernelCopy, KernelReduction } from './reduction.js';
import { failureReason, markFailed } from './signals.js';

/** Ranks on threads of one process, over one shared memory. */
export class WorkerTransport implements Transport {
  readonly kind: 'worker' = 'worker';
  readonly rank: number;
  readonly size: number;
  readonly topology: Topology;
  readonly counters: TrafficCounters;
  readonly tagLimit: number = TAG_LIMIT;
  readonly canBlock: boolean = true;
  readonly #rank: WorkerRank;
  readonly #group: Group;
  /** Of the world, by world rank. */
  readonly #worldTopology: Topology;
  readonly #context: ChannelContext;
  readonly #agreements: Agreements;
  readonly #splits: Splits<Transport>;
  readonly #regions: Set<number> = new Set();
  #pending: Pending<unknown> | undefined;
  #seenChanges: number = 0;
  #seenGroupChanges: number = 0;
  /** Members that have left. */
  #departed: readonly number[] = [];
  #failure: TransportFailure | undefined;
  #closed: boolean = false;

  constructor(rank: WorkerRank, group: Group, worldTopology: Topology) {
    this.#rank = rank;
    this.#group = group;
    this.#worldTopology = worldTopology;
    this.rank = group.index;
    this.size = group.size;
    this.topology = subTopology(worldTopology, group.worldRanks);
    this.counters = new TrafficCounters(this.rank, this.topology);
    this.#agreements = new Agreements(rank, group);
    this.#splits = new Splits(rank, group, this.#child);
    this.#context = {
      rank,
      group,
      counters: this.counters,
      sends: new ActiveList(),
      receives: new ActiveList(),
      staging: new Set(),
    };
    rank.opened();
  }

  allocate(bytes: number): Uint8Array {
    this.#needOpen();
    const address = this.#rank.allocate(bytes);
    this.#regions.add(address);
    return new Uint8Array(this.#rank.memory, address, bytes);
  }

  release(region: Uint8Array): void {
    const address = this.#rank.addressOf(region);
    if (this.#regions.delete(address)) this.#rank.heap.release(address);
  }

  openSend(peer: number, tag: number, source: Uint8Array): SendChannel {
    this.#needPeer(peer, tag);
    return new WorkerSend(this.#context, peer, tag, source);
  }

  openReceive(peer: number, tag: number, target: Uint8Array): ReceiveChannel {
    this.#needPeer(peer, tag);
    return new WorkerReceive(this.#context, peer, tag, target, undefined);
  }

  openReceiveReduce(peer: number, tag: number, fused: FusedReduction): ReceiveChannel {
    this.#needPeer(peer, tag);
    const { dtype, reduction, target, left } = fused;
    const kernel = new KernelReduction(this.#rank, reducible(dtype), reduction, target, left);
    return new WorkerReceive(this.#context, peer, tag, target, kernel);
  }

  bindReduction(
    dtype: Dtype,
    reduction: Reduction,
    target: Uint8Array,
    left: Uint8Array,
    right: Uint8Array,
  ): BoundReduction {
    return new KernelReduction(this.#rank, reducible(dtype), reduction, target, left, right);
  }

  bindCopy(target: Uint8Array, source: Uint8Array): BoundReduction | undefined {
    const to = this.#rank.addressOf(target);
    const from = this.#rank.addressOf(source);
    return to < 0 || from < 0 ? undefined : new KernelCopy(this.#rank, from, to, source.byteLength);
  }

  agree(payload: Uint8Array): Pending<readonly Uint8Array[]> {
    this.#needOpen();
    const pending = this.#agreements.begin(payload);
    this.#pending = pending;
    return pending;
  }

  split(members: readonly number[]): Pending<Transport | undefined> {
    this.#needOpen();
    const pending = this.#splits.begin(members);
    this.#pending = pending;
    return pending;
  }

  shrink(): Pending<Transport> {
    this.#needOpen();
    return new ShrinkPending(this.#rank, this.#group, this.#child);
  }

  progress(): void {
    const receives = this.#context.receives.items;
    for (let i = receives.length - 1; i >= 0; i--) (receives[i] as WorkerReceive).advance();
  }

  activity(): number {
    return this.#rank.activity();
  }

  pause(token: number, attempt: number, maxSeconds: number): void {
    this.#rank.pause(token, attempt, maxSeconds);
  }

  pauseAsync(token: number, attempt: number, maxSeconds: number): Promise<void> {
    return this.#rank.pauseAsync(token, attempt, maxSeconds);
  }

  now(): number {
    return performance.now() / 1e3;
  }

  failure(): TransportFailure | undefined {
    const { words, world } = this.#rank;
    const changes = Atomics.load(words, world + WORLD_CHANGES);
    const groupChanges = Atomics.load(words, this.#group.header(GROUP_CHANGES));
    if (changes !== this.#seenChanges || groupChanges !== this.#seenGroupChanges) {
      this.#seenChanges = changes;
      this.#seenGroupChanges = groupChanges;
      this.#look();
    }
    if (this.#failure === undefined && this.#departed.length > 0) this.#expect();
    return this.#failure;
  }

  fail(ranks: readonly number[], reason: string): void {
    const { words, world } = this.#rank;
    for (const member of ranks) {
      const worldRank = this.#group.worldRanks[member];
      if (worldRank !== undefined) markFailed(words, world, this.#rank.ranks, worldRank, reason);
    }
  }

  abandon(_error: Error): void {
    // Only this thread writes this rank's regions, and peers distrust what they read after this.
    this.#group.setState(ABANDONED);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // First, so that no peer takes what now may be overwritten for a message.
    this.#group.setState(CLOSED);
    this.#agreements.close();
    for (const addresses of [this.#regions, this.#context.staging]) {
      for (const address of addresses) this.#rank.heap.release(address);
      addresses.clear();
    }
    this.#rank.closed(this.#group);
  }

  readonly #child = (group: Group): Transport => new WorkerTransport(this.#rank, group, this.#worldTopology);

  /** Looks for members that failed or left. */
  #look(): void {
    const { words, world } = this.#rank;
    const members = Array.from({ length: this.size }, (_, member) => member);
    const failed = members.filter((member) => this.#group.failed(member));
    const missed = members.filter((member) => !this.#group.failed(member) && this.#group.missed(member));
    this.#departed = members.filter((member) => member !== this.rank && this.#group.left(member));
    if (failed.length + missed.length === 0) return;
    const reasons = new Set(
      failed.map((member) => failureReason(words, world, this.#group.worldRanks[member] as number)),
    );
    if (missed.length > 0) reasons.add('closed its communicator or ended its thread');
    this.#failure = { ranks: [...failed, ...missed].sort((a, b) => a - b), reason: [...reasons].join('; ') };
  }

  /** Looks for members that have left although this rank still expects something of them. */
  #expect(): void {
    const { sends, receives } = this.#context;
    const expected = (member: number): boolean =>
      // A member may answer and then leave: what it left behind is looked at after it is known to have left.
      this.#pending?.missing().includes(member) === true ||
      sends.items.some((send) => send.peer === member && send.waits) ||
      [...receives.items].some((receive) => receive.peer === member && receive.waits);
    const ranks = this.#departed.filter(expected);
    for (const member of ranks) this.#group.miss(member);
    if (ranks.length > 0) this.#look();
  }

  #needOpen(): void {
    if (!this.#closed) return;
    throw new CollectivesError({
      code: 'collectives/closed',
      message: 'this transport is closed',
      value: this.rank,
      remedy: 'attach or split again',
    });
  }

  #needPeer(peer: number, tag: number): void {
    this.#needOpen();
    if (!Number.isInteger(peer) || peer < 0 || peer >= this.size || peer === this.rank) {
      throw badChannel(`expected a peer of rank ${this.rank} below ${this.size}, got ${peer}`, peer);
    }
    if (!Number.isInteger(tag) || tag < 0 || tag >= TAG_LIMIT) {
      throw badChannel(`expected a tag below ${TAG_LIMIT}, got ${tag}`, tag);
    }
  }
}

function badChannel(message: string, value: number): CollectivesError {
  return new CollectivesError({
    code: 'collectives/bad-config',
    message,
    value,
    remedy: 'name another rank of this group and a free tag',
  });
}

function reducible(dtype: Dtype): Exclude<Dtype, 'u8'> {
  if (dtype !== 'u8') return dtype;
  throw new CollectivesError({
    code: 'collectives/bad-shape',
    message: 'expected a dtype that can be reduced, got u8',
    value: dtype,
    remedy: 'view the bytes as f32, bf16, f16 or i32',
  });
}
