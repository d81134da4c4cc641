import type { TrafficCounters } from '../communicator/counters.js';
import type { Transport } from '../communicator/transport.js';
import type { MessageBuffer } from './message-buffer.js';
import type { Phase } from './phase.js';
import { type MessageSource, openStreams, type Streams, unfinished } from './streams.js';

/** Writes and reads the row of integers that one rank tells another before its tokens. */
export interface CountRows {
  /** Fills the row for `peer` from element `start`. */
  writeCounts(peer: number, row: Int32Array, start: number): void;
  /** Takes the row of `peer`. */
  readCounts(peer: number, row: Int32Array, start: number): void;
}

/** Exchanges one row of counts with every peer. */
export class Notify implements Phase, MessageSource {
  readonly #streams: Streams;
  readonly #rows: CountRows;
  readonly #peers: readonly number[];

  constructor(
    transport: Transport,
    rows: CountRows,
    options: { tag: number; peers: readonly number[]; elements: number; counters: TrafficCounters },
  ) {
    this.#rows = rows;
    this.#peers = options.peers;
    this.#streams = openStreams(transport, {
      tag: options.tag,
      peers: options.peers,
      messageBytes: options.elements * 4,
      sendChunk: 1,
      receiveChunk: 1,
      counters: options.counters,
    });
  }

  /** Begins a run; ranks with `skip[rank] === 1` are left out. */
  begin(skip: Uint8Array | undefined): void {
    for (let i = 0; i < this.#peers.length; i++) {
      const peer = this.#peers[i]!;
      const count = skip?.[peer] === 1 ? 0 : 1;
      this.#streams.send[peer]?.begin(count, false);
      this.#streams.receive[peer]?.begin(count);
    }
  }

  advance(): boolean {
    let done = true;
    for (let i = 0; i < this.#peers.length; i++) {
      const peer = this.#peers[i]!;
      if (!this.#streams.send[peer]!.advance(this)) done = false;
      const receive = this.#streams.receive[peer]!;
      if (receive.ready()) {
        this.#rows.readCounts(peer, receive.buffer.i32, receive.offset >>> 2);
        receive.next();
      }
      if (!receive.done) done = false;
    }
    return done;
  }

  pack(peer: number, _index: number, target: MessageBuffer, offset: number): boolean {
    this.#rows.writeCounts(peer, target.i32, offset >>> 2);
    return true;
  }

  missing(out: Set<number>): void {
    unfinished(this.#streams, out);
  }
}
