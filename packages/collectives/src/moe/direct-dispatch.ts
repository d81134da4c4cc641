import { peersFrom, SLOT_TAGS, type SlotEnvironment } from './environment.js';
import { type DispatchLayout, layoutInto } from './layout.js';
import { dispatchMessage } from './message.js';
import type { MessageBuffer } from './message-buffer.js';
import { type CountRows, Notify } from './notify.js';
import type { Phase } from './phase.js';
import { checkCapacity, setReceiveOffsets } from './receive-counts.js';
import type { ReceivedRows } from './received-rows.js';
import type { Route } from './route.js';
import { type MessageSource, openStreams, type Streams, unfinished } from './streams.js';
import type { TokenPacker } from './token-packer.js';

/** Sends every token once to each rank that has one of its experts, straight from its source. */
export class DirectDispatch implements Phase, MessageSource, CountRows {
  readonly layout: DispatchLayout;
  readonly tokensPerExpert: Int32Array;
  readonly #env: SlotEnvironment;
  readonly #peers: readonly number[];
  readonly #packer: TokenPacker;
  readonly #rows: ReceivedRows;
  readonly #notify: Notify;
  readonly #streams: Streams;
  readonly #sendAfterCounts: boolean;
  #route: Route | undefined;
  #routed = false;
  #counting = false;
  #sending = false;
  #placed = false;

  constructor(env: SlotEnvironment, packer: TokenPacker, rows: ReceivedRows) {
    const { transport, config } = env;
    this.#env = env;
    this.#packer = packer;
    this.#rows = rows;
    this.#peers = peersFrom(transport.rank, transport.size);
    this.tokensPerExpert = new Int32Array(config.localExperts);
    this.layout = {
      tokensPerRank: new Int32Array(config.ranks),
      tokensPerNode: config.nodes > 1 ? new Int32Array(config.nodes) : undefined,
      tokensPerExpert: new Int32Array(config.experts),
      isTokenInRank: new Uint8Array(config.maxTokensPerRank * config.ranks),
    };
    this.#notify = new Notify(transport, this, {
      tag: env.firstTag + SLOT_TAGS.counts,
      peers: this.#peers,
      elements: config.ranks + config.localExperts,
      counters: env.counters.control,
    });
    this.#streams = openStreams(transport, {
      tag: env.firstTag + SLOT_TAGS.dispatch,
      peers: this.#peers,
      messageBytes: dispatchMessage(config).bytes,
      sendChunk: config.chunkTokens,
      receiveChunk: config.chunkTokens,
      counters: env.counters.dispatch,
    });
    this.#sendAfterCounts = config.maxReceiveTokens < config.ranks * config.maxTokensPerRank;
  }

  /** Begins with fresh selections, which fill `route`, or without, which replays it. */
  begin(route: Route, tokens: number, topkIdx: Int32Array | undefined): void {
    const { config } = this.#env;
    this.#route = route;
    this.#routed = topkIdx !== undefined;
    this.#counting = false;
    this.#placed = false;
    if (topkIdx !== undefined) {
      layoutInto(this.layout, topkIdx, tokens, config);
      route.tokens = tokens;
      this.#listTokens(route, tokens);
      this.tokensPerExpert.fill(0);
      route.counted = !config.worstCase;
      if (!config.worstCase) {
        this.#counting = true;
        this.#notify.begin(undefined);
      }
    }
    this.#sending = !(this.#counting && this.#sendAfterCounts);
    const announce = config.worstCase;
    for (let i = 0; i < this.#peers.length; i++) {
      const peer = this.#peers[i]!;
      this.#streams.send[peer]!.begin(route.sendOffsets[peer + 1]! - route.sendOffsets[peer]!, announce);
      if (config.worstCase) this.#streams.receive[peer]!.begin(-1);
    }
    if (!config.worstCase && !this.#counting) this.#expect(route);
  }

  advance(): boolean {
    const route = this.#route!;
    if (this.#counting) {
      if (this.#notify.advance()) {
        setReceiveOffsets(route, this.#env.transport.rank, this.#env.config.ranks);
        checkCapacity(route, this.#env.config);
        this.#counting = false;
        this.#sending = true;
        this.#expect(route);
      }
      if (!this.#sending) return false;
    }
    let done = !this.#counting;
    for (let i = 0; i < this.#peers.length; i++) {
      if (!this.#streams.send[this.#peers[i]!]!.advance(this)) done = false;
    }
    if (this.#counting) return false;
    if (!this.#placed && !this.#place(route)) return false;
    for (let i = 0; i < this.#peers.length; i++) {
      const stream = this.#streams.receive[this.#peers[i]!]!;
      const first = route.receiveOffsets[stream.peer]!;
      while (stream.ready()) {
        const row = first + stream.index;
        this.#rows.write(row, stream.buffer, stream.offset, this.#routed);
        route.srcIdx[row] = stream.buffer.i32[(stream.offset >>> 2) + 1]!;
        stream.next();
      }
      if (!stream.done) done = false;
    }
    return done;
  }

  pack(peer: number, index: number, target: MessageBuffer, offset: number): boolean {
    const route = this.#route!;
    this.#packer.write(route.sendItems[route.sendOffsets[peer]! + index]!, target, offset);
    return true;
  }

  writeCounts(peer: number, row: Int32Array, start: number): void {
    const { ranks, localExperts } = this.#env.config;
    for (let rank = 0; rank < ranks; rank++) row[start + rank] = this.layout.tokensPerRank[rank]!;
    for (let e = 0; e < localExperts; e++) {
      row[start + ranks + e] = this.layout.tokensPerExpert[peer * localExperts + e]!;
    }
  }

  readCounts(peer: number, row: Int32Array, start: number): void {
    const { ranks, localExperts } = this.#env.config;
    for (let rank = 0; rank < ranks; rank++) this.#route!.counts[peer * ranks + rank] = row[start + rank]!;
    for (let e = 0; e < localExperts; e++) {
      this.tokensPerExpert[e] = this.tokensPerExpert[e]! + row[start + ranks + e]!;
    }
  }

  missing(out: Set<number>): void {
    if (this.#counting) this.#notify.missing(out);
    else unfinished(this.#streams, out);
  }

  #expect(route: Route): void {
    for (let i = 0; i < this.#peers.length; i++) {
      const peer = this.#peers[i]!;
      this.#streams.receive[peer]!.begin(route.received[peer]!);
    }
    this.#placed = true;
  }

  /** Without counts rows can be placed only when every rank's transfer is here. */
  #place(route: Route): boolean {
    let complete = true;
    for (let i = 0; i < this.#peers.length; i++) {
      const stream = this.#streams.receive[this.#peers[i]!]!;
      stream.ready();
      if (stream.expected < 0) complete = false;
    }
    if (!complete) return false;
    let rows = 0;
    for (let peer = 0; peer < this.#peers.length; peer++) {
      const count = this.#streams.receive[peer]!.expected;
      route.receiveOffsets[peer] = rows;
      route.received[peer] = count;
      rows += count;
    }
    route.receiveOffsets[this.#peers.length] = rows;
    route.rows = rows;
    this.#placed = true;
    return true;
  }

  #listTokens(route: Route, tokens: number): void {
    const { ranks } = this.#env.config;
    const { isTokenInRank, tokensPerRank } = this.layout;
    let at = 0;
    for (let rank = 0; rank < ranks; rank++) {
      route.sendOffsets[rank] = at;
      if (tokensPerRank[rank] === 0) continue;
      for (let token = 0; token < tokens; token++) {
        if (isTokenInRank[token * ranks + rank] === 1) route.sendItems[at++] = token;
      }
    }
    route.sendOffsets[ranks] = at;
  }
}
