import { CollectivesError } from '../errors.js';
import type { Communicator } from './communicator.js';
import { TrafficCounters } from './counters.js';
import { createCommunicator } from './create-communicator.js';
import type { Dtype, Reduction } from './dtype.js';
import type { Topology } from './topology.js';
import type {
  BoundReduction,
  Channel,
  Pending,
  ReceiveChannel,
  SendChannel,
  Transport,
  TransportFailure,
} from './transport.js';

/** A network that messages appear to travel on. */
export interface ImposedLink {
  /** From the send of a message to its arrival, besides its bytes. */
  readonly alphaSeconds: number;
  /** Rate at which a rank sends, to all others together. */
  readonly bytesPerSecond: number;
  /** Monotonic seconds, the same for all ranks; default: the machine's clock. */
  readonly now?: () => number;
}

/**
 * The same ranks over a slower network: a message arrives `alphaSeconds` after the last of its bytes has left, and a rank's messages leave one after the other at
 * `bytesPerSecond`. Waiting takes no computing time, so that what overlaps with computation is hidden as on a real network. Collective in effect: every rank
 * wraps its communicator with the same numbers; ranks are on one machine, whose clock they share. Agreements are not delayed. The communicator passed in must not be used any more.
 *
 * @throws CollectivesError `collectives/bad-config`.
 *
 * @example
 * ```ts
 * import { createLoopback, withLinkModel } from '@moestack/collectives';
 *
 * const slow = createLoopback(2).map((comm) => withLinkModel(comm, { alphaSeconds: 1e-3, bytesPerSecond: 1e9 }));
 * console.log((await Promise.all(slow.map((comm) => comm.allReduce(Float32Array.of(1)))))[0]); // 2
 * ```
 */
export function withLinkModel(communicator: Communicator, link: ImposedLink): Communicator {
  need('alphaSeconds', link.alphaSeconds, link.alphaSeconds >= 0 && link.alphaSeconds < 3600);
  need('bytesPerSecond', link.bytesPerSecond, link.bytesPerSecond > 0);
  const { transport, timeoutSeconds } = communicator;
  return createCommunicator(new LinkModelTransport(transport, new Wire(link)), { timeoutSeconds });
}

function need(name: string, value: number, isRight: boolean): void {
  if (isRight) return;
  throw new CollectivesError({
    code: 'collectives/bad-config',
    message: `expected a positive number for ${name}, got ${value}`,
    value: String(value),
    remedy: 'pass the latency in seconds and the rate in bytes per second',
  });
}

const STAMP_BYTES = 8;
/** How late a sleeping thread may wake up. */
const POLLED_SECONDS = 2e-4;

/** What leaves one rank; shared by all its groups. */
class Wire {
  readonly now: () => number;
  readonly #alpha: number;
  readonly #rate: number;
  #freeAt = 0;

  constructor(link: ImposedLink) {
    // CLOCK_MONOTONIC, which threads and processes of one machine share; `performance` starts anew in each.
    this.now = link.now ?? (() => Number(process.hrtime.bigint()) / 1e9);
    this.#alpha = link.alphaSeconds;
    this.#rate = link.bytesPerSecond;
  }

  /** When a message of `bytes` that is sent now arrives. */
  send(bytes: number): number {
    this.#freeAt = Math.max(this.now(), this.#freeAt) + bytes / this.#rate;
    return this.#freeAt + this.#alpha;
  }
}

class LinkModelTransport implements Transport {
  readonly kind: Transport['kind'];
  readonly rank: number;
  readonly size: number;
  readonly topology: Topology;
  readonly counters: TrafficCounters;
  /** The upper half of the tags carries the times of arrival. */
  readonly tagLimit: number;
  readonly canBlock: boolean;
  readonly wire: Wire;
  readonly inner: Transport;
  /** The next arrival that somebody asked for since the last progress. */
  #due: number = Number.POSITIVE_INFINITY;

  constructor(inner: Transport, wire: Wire) {
    this.inner = inner;
    this.wire = wire;
    this.kind = inner.kind;
    this.rank = inner.rank;
    this.size = inner.size;
    this.topology = inner.topology;
    this.counters = new TrafficCounters(inner.rank, inner.topology);
    this.tagLimit = inner.tagLimit >>> 1;
    this.canBlock = inner.canBlock;
  }

  allocate(bytes: number): Uint8Array {
    return this.inner.allocate(bytes);
  }

  release(region: Uint8Array): void {
    this.inner.release(region);
  }

  openSend(peer: number, tag: number, source: Uint8Array): SendChannel {
    const { inner, tagLimit } = this;
    const stamp = inner.allocate(STAMP_BYTES);
    const data = inner.openSend(peer, tag, source);
    return new DelayedSend(this, data, inner.openSend(peer, tag + tagLimit, stamp), stamp, source.length);
  }

  openReceive(peer: number, tag: number, target: Uint8Array): ReceiveChannel {
    const { inner, tagLimit } = this;
    const stamp = inner.allocate(STAMP_BYTES);
    const data = inner.openReceive(peer, tag, target);
    return new DelayedReceive(this, data, inner.openReceive(peer, tag + tagLimit, stamp), stamp);
  }

  bindReduction(
    dtype: Dtype,
    reduction: Reduction,
    target: Uint8Array,
    left: Uint8Array,
    right: Uint8Array,
  ): BoundReduction | undefined {
    return this.inner.bindReduction?.(dtype, reduction, target, left, right);
  }

  bindCopy(target: Uint8Array, source: Uint8Array): BoundReduction | undefined {
    return this.inner.bindCopy?.(target, source);
  }

  agree(payload: Uint8Array): Pending<readonly Uint8Array[]> {
    return this.inner.agree(payload);
  }

  split(members: readonly number[]): Pending<Transport | undefined> {
    return wrapped(this.inner.split(members), (inner) => inner && new LinkModelTransport(inner, this.wire));
  }

  shrink(): Pending<Transport> {
    return wrapped(this.inner.shrink(), (inner) => new LinkModelTransport(inner, this.wire));
  }

  progress(): void {
    this.#due = Number.POSITIVE_INFINITY;
    this.inner.progress();
  }

  activity(): number {
    return this.inner.activity();
  }

  /** Whether the time of an arrival has come; if not, waiting ends then. */
  hasArrived(due: number): boolean {
    if (this.wire.now() >= due) return true;
    if (due < this.#due) this.#due = due;
    return false;
  }

  pause(token: number, attempt: number, maxSeconds: number): void {
    // The last moment before an arrival is polled through, since a thread that sleeps wakes up late.
    const seconds =
      this.#untilDue(maxSeconds) - (this.#due === Number.POSITIVE_INFINITY ? 0 : POLLED_SECONDS);
    if (seconds > 0) this.inner.pause(token, attempt, seconds);
  }

  pauseAsync(token: number, attempt: number, maxSeconds: number): Promise<void> {
    return this.inner.pauseAsync(token, attempt, this.#untilDue(maxSeconds));
  }

  now(): number {
    return this.inner.now();
  }

  failure(): TransportFailure | undefined {
    const failure = this.inner.failure();
    // A rank that left is not missed while a message of somebody is still on its way: it may be the last of that rank.
    const isWaiting = this.#due !== Number.POSITIVE_INFINITY;
    return isWaiting && failure?.ranks.length === 0 ? undefined : failure;
  }

  fail(ranks: readonly number[], reason: string): void {
    this.inner.fail(ranks, reason);
  }

  abandon(error: Error): void {
    this.inner.abandon(error);
  }

  close(): void {
    this.inner.close();
  }

  #untilDue(maxSeconds: number): number {
    if (this.#due === Number.POSITIVE_INFINITY) return maxSeconds;
    return Math.max(0, Math.min(maxSeconds, this.#due - this.wire.now()));
  }
}

/** One end of a message's way: the message and the time of its arrival, on a channel beside it. */
abstract class DelayedChannel implements Channel {
  readonly peer: number;
  protected readonly transport: LinkModelTransport;
  protected readonly data: Channel;
  protected readonly stamp: Channel;
  protected readonly time: Float64Array;
  readonly #stampBytes: Uint8Array;
  protected isActive = false;
  #isClosed = false;

  constructor(transport: LinkModelTransport, data: Channel, stamp: Channel, stampBytes: Uint8Array) {
    this.peer = data.peer;
    this.transport = transport;
    this.data = data;
    this.stamp = stamp;
    this.time = new Float64Array(stampBytes.buffer, stampBytes.byteOffset, 1);
    this.#stampBytes = stampBytes;
  }

  get transferredBytes(): number {
    return this.data.transferredBytes;
  }

  abstract test(): boolean;

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.data.close();
    this.stamp.close();
    this.transport.release(this.#stampBytes);
  }
}

class DelayedSend extends DelayedChannel implements SendChannel {
  declare protected readonly data: SendChannel;
  declare protected readonly stamp: SendChannel;
  readonly #length: number;

  constructor(
    transport: LinkModelTransport,
    data: SendChannel,
    stamp: SendChannel,
    stampBytes: Uint8Array,
    length: number,
  ) {
    super(transport, data, stamp, stampBytes);
    this.#length = length;
  }

  start(bytes: number = this.#length): void {
    this.isActive = true;
    this.time[0] = this.transport.wire.send(bytes);
    this.stamp.start(STAMP_BYTES);
    this.data.start(bytes);
  }

  test(): boolean {
    if (!this.isActive) return true;
    if (!this.data.test() || !this.stamp.test()) return false;
    this.isActive = false;
    this.transport.counters.countSend(this.peer, this.transferredBytes);
    return true;
  }
}

class DelayedReceive extends DelayedChannel implements ReceiveChannel {
  declare protected readonly data: ReceiveChannel;
  declare protected readonly stamp: ReceiveChannel;

  start(): void {
    this.isActive = true;
    this.stamp.start();
    this.data.start();
  }

  test(): boolean {
    if (!this.isActive) return true;
    if (!this.data.test() || !this.stamp.test()) return false;
    if (!this.transport.hasArrived(this.time[0]!)) return false;
    this.isActive = false;
    this.transport.counters.countReceive(this.peer, this.transferredBytes);
    return true;
  }
}

function wrapped<A, B>(pending: Pending<A>, wrap: (inner: A) => B): Pending<B> {
  let result: B | undefined;
  let isWrapped = false;
  return {
    test: () => pending.test(),
    missing: () => pending.missing(),
    result: () => {
      if (!isWrapped) result = wrap(pending.result());
      isWrapped = true;
      return result as B;
    },
  };
}
