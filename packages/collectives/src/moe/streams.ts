import type { TrafficCounters } from '../communicator/counters.js';
import type { ReceiveChannel, SendChannel, Transport } from '../communicator/transport.js';
import { MismatchError } from '../errors.js';
import { openLocal } from './local-channel.js';
import { MessageBuffer } from './message-buffer.js';

/** Fills the messages of send streams, in order. */
export interface MessageSource {
  /**
   * Writes message `index` for `peer` at byte `offset` of `target`.
   *
   * @returns false when it is not known yet; the stream asks again at its next advance.
   */
  pack(peer: number, index: number, target: MessageBuffer, offset: number): boolean;
}

/** Messages of equal size to one rank, sent in chunks through one buffer. */
export class SendStream {
  readonly peer: number;
  readonly buffer: MessageBuffer;
  readonly #channel: SendChannel;
  readonly #counters: TrafficCounters;
  readonly #messageBytes: number;
  readonly #chunk: number;
  #total = 0;
  #packed = 0;
  #filled = 0;
  #sending = false;
  #owesEmpty = false;

  constructor(
    peer: number,
    channel: SendChannel,
    region: Uint8Array,
    messageBytes: number,
    chunk: number,
    counters: TrafficCounters,
  ) {
    this.peer = peer;
    this.buffer = new MessageBuffer(region, messageBytes);
    this.#channel = channel;
    this.#messageBytes = messageBytes;
    this.#chunk = chunk;
    this.#counters = counters;
  }

  /** Begins a new run of `total` messages; with `announce` a run without messages still sends an empty transfer. */
  begin(total: number, announce: boolean): void {
    this.#total = total;
    this.#packed = 0;
    this.#filled = 0;
    this.#owesEmpty = announce && total === 0;
  }

  /** Packs and sends what it can; returns whether everything has left. */
  advance(source: MessageSource): boolean {
    for (;;) {
      if (this.#sending) {
        if (!this.#channel.test()) return false;
        this.#sending = false;
        this.#counters.countSend(this.peer, this.#channel.transferredBytes);
      }
      const left = this.#total - this.#packed;
      if (left === 0 && !this.#owesEmpty) return true;
      const count = Math.min(left, this.#chunk);
      while (this.#filled < count) {
        const index = this.#packed + this.#filled;
        if (!source.pack(this.peer, index, this.buffer, this.#filled * this.#messageBytes)) return false;
        this.#filled++;
      }
      this.#owesEmpty = false;
      this.#packed += count;
      this.#filled = 0;
      this.#sending = true;
      this.#channel.start(count * this.#messageBytes);
    }
  }

  /** Whether everything has been packed and sent. */
  get done(): boolean {
    return !this.#sending && this.#packed === this.#total && !this.#owesEmpty;
  }

  close(): void {
    this.#channel.close();
  }
}

/** Messages of equal size from one rank, taken one by one in order. */
export class ReceiveStream {
  readonly peer: number;
  readonly buffer: MessageBuffer;
  /** Index of the message that {@link ReceiveStream.ready} offers. */
  index = 0;
  readonly #channel: ReceiveChannel;
  readonly #counters: TrafficCounters;
  readonly #messageBytes: number;
  #expected = 0;
  #receiving = false;
  #available = 0;
  #cursor = 0;

  constructor(
    peer: number,
    channel: ReceiveChannel,
    region: Uint8Array,
    messageBytes: number,
    counters: TrafficCounters,
  ) {
    this.peer = peer;
    this.buffer = new MessageBuffer(region, messageBytes);
    this.#channel = channel;
    this.#messageBytes = messageBytes;
    this.#counters = counters;
  }

  /** Begins a new run of `expected` messages; -1: a single transfer of unknown length. */
  begin(expected: number): void {
    this.#expected = expected;
    this.index = 0;
    this.#available = 0;
    this.#cursor = 0;
    if (expected !== 0) this.#post();
  }

  /** Whether the next message is here, at byte {@link ReceiveStream.offset} of the buffer. */
  ready(): boolean {
    if (this.#cursor < this.#available) return true;
    if (!this.#receiving || !this.#channel.test()) return false;
    this.#receiving = false;
    const bytes = this.#channel.transferredBytes;
    this.#counters.countReceive(this.peer, bytes);
    const count = bytes / this.#messageBytes;
    if (!Number.isInteger(count) || (this.#expected >= 0 && this.index + count > this.#expected)) {
      const expected = this.#expected < 0 ? 'whole' : String(this.#expected - this.index);
      throw new MismatchError(
        'messages',
        [this.peer],
        `${bytes} bytes came from rank ${this.peer}, expected ${expected} messages of ${this.#messageBytes}`,
      );
    }
    this.#available = count;
    this.#cursor = 0;
    if (this.#expected < 0) this.#expected = count;
    else if (count === 0) this.#post();
    return count > 0;
  }

  /** Byte offset of the message that is ready. */
  get offset(): number {
    return this.#cursor * this.#messageBytes;
  }

  /** End of the messages that are here: those from {@link ReceiveStream.index} up to it can be read. */
  get reach(): number {
    return this.index + this.#available - this.#cursor;
  }

  /** Byte offset of a message between `index` and `reach`. */
  offsetOf(index: number): number {
    return (this.#cursor + index - this.index) * this.#messageBytes;
  }

  /** Gives the message that was ready back; the buffer of a chunk is used again after its last one. */
  next(): void {
    this.index++;
    this.#cursor++;
    if (this.#cursor === this.#available && this.index < this.#expected) this.#post();
  }

  /** Messages of this run; -1 while unknown. */
  get expected(): number {
    return this.#expected;
  }

  /** Whether every message has been taken. */
  get done(): boolean {
    return this.#expected >= 0 && this.index === this.#expected && !this.#receiving;
  }

  close(): void {
    this.#channel.close();
  }

  #post(): void {
    this.#receiving = true;
    this.#channel.start();
  }
}

/** Streams from and to a set of ranks under one tag. */
export interface Streams {
  /** By rank; undefined where there is no connection. */
  readonly send: readonly (SendStream | undefined)[];
  readonly receive: readonly (ReceiveStream | undefined)[];
}

/** What {@link openStreams} opens. */
export interface StreamSpec {
  readonly tag: number;
  /** Ranks to send to and to receive from; the own rank is a local delivery. */
  readonly peers: readonly number[];
  readonly messageBytes: number;
  /** Messages of a transfer, by direction. */
  readonly sendChunk: number;
  readonly receiveChunk: number;
  readonly counters: TrafficCounters;
}

/** Opens both directions to every peer, with buffers from the transport. */
export function openStreams(transport: Transport, spec: StreamSpec): Streams {
  const send: (SendStream | undefined)[] = new Array(transport.size).fill(undefined);
  const receive: (ReceiveStream | undefined)[] = new Array(transport.size).fill(undefined);
  const { messageBytes, sendChunk, receiveChunk, counters, tag } = spec;
  for (const peer of spec.peers) {
    const source = transport.allocate(messageBytes * sendChunk);
    const target = transport.allocate(messageBytes * receiveChunk);
    const ends =
      peer === transport.rank
        ? openLocal(transport, source, target)
        : {
            send: transport.openSend(peer, tag, source),
            receive: transport.openReceive(peer, tag, target),
          };
    send[peer] = new SendStream(peer, ends.send, source, messageBytes, sendChunk, counters);
    receive[peer] = new ReceiveStream(peer, ends.receive, target, messageBytes, counters);
  }
  return { send, receive };
}

/** Ranks whose stream has not ended. */
export function unfinished(streams: Streams, out: Set<number>): void {
  for (const stream of streams.send) if (stream !== undefined && !stream.done) out.add(stream.peer);
  for (const stream of streams.receive) if (stream !== undefined && !stream.done) out.add(stream.peer);
}
