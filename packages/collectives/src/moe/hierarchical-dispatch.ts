import { peersFrom, SLOT_TAGS, type SlotEnvironment } from './environment.js';
import { Forwarder } from './forwarder.js';
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

/**
 * Sends every token once to each other node that has one of its experts, to the rank there with the source's local index, which hands it on
 * inside its node; tokens for the own node are handed out by their source.
 */
export class HierarchicalDispatch implements Phase, MessageSource, CountRows {
  readonly layout: DispatchLayout;
  readonly tokensPerExpert: Int32Array;
  readonly #env: SlotEnvironment;
  readonly #node: number;
  readonly #local: number;
  /** The ranks with the own local index on the other nodes. */
  readonly #rail: readonly number[];
  readonly #packer: TokenPacker;
  readonly #rows: ReceivedRows;
  readonly #notify: Notify;
  readonly #nodeStreams: Streams;
  readonly #forwarder: Forwarder;
  readonly #sendAfterCounts: boolean;
  /** Of every source: tokens for the own node. */
  readonly #forNode: Int32Array;
  readonly #totals: Int32Array;
  readonly #placedRows: Int32Array;
  #route: Route | undefined;
  #routed = false;
  #counting = false;
  #sending = false;
  #forwarding = false;
  #placed = false;

  constructor(env: SlotEnvironment, packer: TokenPacker, rows: ReceivedRows) {
    const { transport, config } = env;
    const { ranks, nodes, ranksPerNode } = config;
    this.#env = env;
    this.#packer = packer;
    this.#rows = rows;
    this.#node = Math.floor(transport.rank / ranksPerNode);
    this.#local = transport.rank % ranksPerNode;
    this.#rail = peersFrom(this.#node, nodes)
      .filter((node) => node !== this.#node)
      .map((node) => node * ranksPerNode + this.#local);
    this.tokensPerExpert = new Int32Array(config.localExperts);
    this.layout = {
      tokensPerRank: new Int32Array(ranks),
      tokensPerNode: new Int32Array(nodes),
      tokensPerExpert: new Int32Array(config.experts),
      isTokenInRank: new Uint8Array(config.maxTokensPerRank * ranks),
    };
    this.#forNode = new Int32Array(ranks);
    this.#totals = new Int32Array(ranksPerNode);
    this.#placedRows = new Int32Array(ranks);
    this.#notify = new Notify(transport, this, {
      tag: env.firstTag + SLOT_TAGS.counts,
      peers: peersFrom(transport.rank, ranks),
      elements: ranks + nodes + config.localExperts,
      counters: env.counters.control,
    });
    this.#nodeStreams = openStreams(transport, {
      tag: env.firstTag + SLOT_TAGS.dispatch,
      peers: this.#rail,
      messageBytes: dispatchMessage(config).bytes,
      sendChunk: config.chunkTokens,
      receiveChunk: config.chunkTokens,
      counters: env.counters.dispatch,
    });
    this.#forwarder = new Forwarder(env, packer, this.#nodeStreams);
    this.#sendAfterCounts = config.maxReceiveTokens < ranks * config.maxTokensPerRank;
  }

  /** Begins with fresh selections, which fill `route`, or without, which replays it. */
  begin(route: Route, tokens: number, topkIdx: Int32Array | undefined): void {
    const { config } = this.#env;
    this.#route = route;
    this.#routed = topkIdx !== undefined;
    this.#counting = false;
    this.#forwarding = false;
    this.#placed = false;
    this.#placedRows.fill(0);
    if (topkIdx !== undefined) {
      layoutInto(this.layout, topkIdx, tokens, config);
      route.tokens = tokens;
      this.#listTokens(route, tokens);
      this.tokensPerExpert.fill(0);
      route.counted = !config.worstCase;
      this.#counting = !config.worstCase;
      if (this.#counting) this.#notify.begin(undefined);
    }
    this.#forwarder.begin(route, topkIdx);
    this.#sending = !(this.#counting && this.#sendAfterCounts);
    for (let i = 0; i < this.#rail.length; i++) {
      const peer = this.#rail[i]!;
      const node = Math.floor(peer / config.ranksPerNode);
      const count = route.sendOffsets[node + 1]! - route.sendOffsets[node]!;
      this.#nodeStreams.send[peer]!.begin(count, config.worstCase);
      if (config.worstCase) this.#nodeStreams.receive[peer]!.begin(-1);
    }
    if (config.worstCase) {
      for (const local of this.#forwarder.locals) this.#forwarder.streams.receive[local]!.begin(-1);
    } else if (!this.#counting) {
      this.#expect(route);
    }
  }

  advance(): boolean {
    const route = this.#route!;
    const { transport, config } = this.#env;
    if (this.#counting && this.#notify.advance()) {
      setReceiveOffsets(route, transport.rank, config.ranks);
      checkCapacity(route, config);
      this.#setEntries(route);
      this.#counting = false;
      this.#sending = true;
      this.#expect(route);
    }
    let done = !this.#counting;
    if (this.#sending) {
      for (let i = 0; i < this.#rail.length; i++) {
        if (!this.#nodeStreams.send[this.#rail[i]!]!.advance(this)) done = false;
      }
    }
    if (this.#counting) return false;
    if (!this.#forwarder.advance()) done = false;
    if (config.worstCase && !this.#forwarding && this.#forwarder.listed) {
      this.#forwarding = true;
      this.#forwarder.start(route.forwardCounts, true);
      this.#forwarder.advance();
      done = false;
    }
    if (!this.#receive(route)) done = false;
    return done;
  }

  pack(peer: number, index: number, target: MessageBuffer, offset: number): boolean {
    const route = this.#route!;
    const node = Math.floor(peer / this.#env.config.ranksPerNode);
    this.#packer.write(route.sendItems[route.sendOffsets[node]! + index]!, target, offset);
    return true;
  }

  writeCounts(peer: number, row: Int32Array, start: number): void {
    const { ranks, nodes, localExperts } = this.#env.config;
    const { tokensPerRank, tokensPerNode, tokensPerExpert } = this.layout;
    for (let rank = 0; rank < ranks; rank++) row[start + rank] = tokensPerRank[rank]!;
    for (let node = 0; node < nodes; node++) row[start + ranks + node] = tokensPerNode![node]!;
    const experts = start + ranks + nodes;
    for (let e = 0; e < localExperts; e++) row[experts + e] = tokensPerExpert[peer * localExperts + e]!;
  }

  readCounts(peer: number, row: Int32Array, start: number): void {
    const { ranks, nodes, localExperts } = this.#env.config;
    for (let rank = 0; rank < ranks; rank++) this.#route!.counts[peer * ranks + rank] = row[start + rank]!;
    this.#forNode[peer] = row[start + ranks + this.#node]!;
    const experts = start + ranks + nodes;
    for (let e = 0; e < localExperts; e++)
      this.tokensPerExpert[e] = this.tokensPerExpert[e]! + row[experts + e]!;
  }

  missing(out: Set<number>): void {
    if (this.#counting) {
      this.#notify.missing(out);
      return;
    }
    unfinished(this.#nodeStreams, out);
    this.#forwarder.missing(out);
  }

  /** How many entries come from each node. */
  #setEntries(route: Route): void {
    const { nodes, ranksPerNode } = this.#env.config;
    route.entryOffsets[0] = 0;
    for (let node = 0; node < nodes; node++) {
      const count = this.#forNode[node * ranksPerNode + this.#local]!;
      route.entryOffsets[node + 1] = route.entryOffsets[node]! + count;
    }
  }

  /** Sets every stream to the number of messages that the counts promise. */
  #expect(route: Route): void {
    const { nodes, ranks, ranksPerNode } = this.#env.config;
    for (let node = 0; node < nodes; node++) {
      const peer = node * ranksPerNode + this.#local;
      if (node === this.#node) continue;
      this.#nodeStreams.receive[peer]!.begin(route.entryOffsets[node + 1]! - route.entryOffsets[node]!);
    }
    const firstLocal = this.#node * ranksPerNode;
    for (let local = 0; local < ranksPerNode; local++) {
      let outgoing = 0;
      let incoming = 0;
      for (let node = 0; node < nodes; node++) {
        outgoing += route.counts[(node * ranksPerNode + this.#local) * ranks + firstLocal + local]!;
        incoming += route.received[node * ranksPerNode + local]!;
      }
      this.#totals[local] = outgoing;
      this.#forwarder.streams.receive[firstLocal + local]!.begin(incoming);
    }
    this.#forwarder.start(this.#totals, false);
    this.#forwarding = true;
    this.#placed = true;
  }

  #receive(route: Route): boolean {
    if (!this.#placed && !this.#place(route)) return false;
    let done = true;
    for (let local = 0; local < this.#forwarder.locals.length; local++) {
      const stream = this.#forwarder.streams.receive[this.#forwarder.locals[local]!]!;
      while (stream.ready()) {
        const meta = stream.offset >>> 2;
        const source = stream.buffer.i32[meta]!;
        const row = route.receiveOffsets[source]! + this.#placedRows[source]!;
        this.#placedRows[source] = this.#placedRows[source]! + 1;
        this.#rows.write(row, stream.buffer, stream.offset, this.#routed);
        route.srcIdx[row] = stream.buffer.i32[meta + 1]!;
        stream.next();
      }
      if (!stream.done) done = false;
    }
    return done;
  }

  /** Without counts rows can be placed only when every transfer is here. */
  #place(route: Route): boolean {
    const { ranks } = this.#env.config;
    let complete = true;
    for (let local = 0; local < this.#forwarder.locals.length; local++) {
      const stream = this.#forwarder.streams.receive[this.#forwarder.locals[local]!]!;
      stream.ready();
      if (stream.expected < 0) complete = false;
    }
    if (!complete) return false;
    route.received.fill(0);
    for (let local = 0; local < this.#forwarder.locals.length; local++) {
      const stream = this.#forwarder.streams.receive[this.#forwarder.locals[local]!]!;
      for (let i = 0; i < stream.reach; i++) {
        const source = stream.buffer.i32[stream.offsetOf(i) >>> 2]!;
        route.received[source] = route.received[source]! + 1;
      }
    }
    let rows = 0;
    for (let source = 0; source < ranks; source++) {
      route.receiveOffsets[source] = rows;
      rows += route.received[source]!;
    }
    route.receiveOffsets[ranks] = rows;
    route.rows = rows;
    this.#placed = true;
    return true;
  }

  #listTokens(route: Route, tokens: number): void {
    const { nodes, ranks, ranksPerNode } = this.#env.config;
    const { isTokenInRank } = this.layout;
    let at = 0;
    for (let node = 0; node < nodes; node++) {
      route.sendOffsets[node] = at;
      for (let token = 0; token < tokens; token++) {
        const first = token * ranks + node * ranksPerNode;
        for (let i = first; i < first + ranksPerNode; i++) {
          if (isTokenInRank[i] === 1) {
            route.sendItems[at++] = token;
            break;
          }
        }
      }
    }
    route.sendOffsets[nodes] = at;
  }
}
