import type { DispatcherConfig } from './config.js';
import { SLOT_TAGS, type SlotEnvironment } from './environment.js';
import { dispatchMessage, type MessageFormat } from './message.js';
import { copyPart, type MessageBuffer } from './message-buffer.js';
import type { Route } from './route.js';
import { type MessageSource, openStreams, type Streams, unfinished } from './streams.js';
import type { TokenPacker } from './token-packer.js';

/**
 * Hands tokens on inside the node: those that came from the rank with the same local index of every other node, and the own ones. They are
 * entries in the order (source node, token); local rank g gets the entries that have an expert there, in that order.
 */
export class Forwarder implements MessageSource {
  readonly streams: Streams;
  /** Ranks of the own node, by local index. */
  readonly locals: readonly number[];
  readonly #config: DispatcherConfig;
  readonly #packer: TokenPacker;
  readonly #fromNodes: Streams;
  readonly #format: MessageFormat;
  readonly #rank: number;
  readonly #node: number;
  readonly #firstLocal: number;
  /** Per local rank: entries packed so far, and the node of the next one. */
  readonly #packed: Int32Array;
  readonly #nodeCursor: Int32Array;
  readonly #seen: Uint8Array;
  #route: Route | undefined;
  #parsing = false;
  #parseNode = 0;
  #parseIndex = 0;
  #topkIdx: Int32Array | undefined;
  #started = false;

  /** @param fromNodes - streams from the same local index of the other nodes. */
  constructor(env: SlotEnvironment, packer: TokenPacker, fromNodes: Streams) {
    const { transport, config } = env;
    const { ranksPerNode, nodes } = config;
    this.#config = config;
    this.#packer = packer;
    this.#fromNodes = fromNodes;
    this.#format = dispatchMessage(config);
    this.#rank = transport.rank;
    this.#node = Math.floor(transport.rank / ranksPerNode);
    this.#firstLocal = this.#node * ranksPerNode;
    this.locals = Array.from({ length: ranksPerNode }, (_, local) => this.#firstLocal + local);
    this.#packed = new Int32Array(ranksPerNode);
    this.#nodeCursor = new Int32Array(ranksPerNode);
    this.#seen = new Uint8Array(ranksPerNode);
    this.streams = openStreams(transport, {
      tag: env.firstTag + SLOT_TAGS.forward,
      peers: this.locals,
      messageBytes: this.#format.bytes,
      sendChunk: Math.min(config.chunkTokens * nodes, config.maxTokensPerRank * nodes),
      receiveChunk: Math.min(config.chunkTokens * nodes, config.maxTokensPerRank * nodes),
      counters: env.counters.dispatch,
    });
  }

  /** Begins; with `topkIdx` the entries are listed from the messages, without it `route` holds them. */
  begin(route: Route, topkIdx: Int32Array | undefined): void {
    this.#route = route;
    this.#topkIdx = topkIdx;
    this.#parsing = topkIdx !== undefined;
    this.#parseNode = 0;
    this.#parseIndex = 0;
    this.#started = false;
    this.#packed.fill(0);
    this.#nodeCursor.fill(0);
    if (this.#parsing) route.forwardCounts.fill(0);
  }

  /** Begins to send, once the number of messages for each local rank is known. */
  start(totals: Int32Array, announce: boolean): void {
    for (let local = 0; local < this.locals.length; local++) {
      this.streams.send[this.locals[local]!]!.begin(totals[local]!, announce);
    }
    this.#started = true;
  }

  /** Whether every entry is listed in the route. */
  get listed(): boolean {
    return !this.#parsing;
  }

  /** Lists entries that arrived, sends what can be sent, frees what every local rank has got; returns whether all was sent. */
  advance(): boolean {
    if (this.#parsing) this.#parse(this.#route!);
    else this.#poll();
    if (!this.#started) return false;
    let done = !this.#parsing;
    for (let local = 0; local < this.locals.length; local++) {
      if (!this.streams.send[this.locals[local]!]!.advance(this)) done = false;
    }
    this.#free(this.#route!);
    return done;
  }

  pack(peer: number, index: number, target: MessageBuffer, offset: number): boolean {
    const route = this.#route!;
    const local = peer - this.#firstLocal;
    if (index >= route.forwardCounts[local]!) return false;
    const entry = route.forwardEntries[local * route.entryCapacity + index]!;
    let node = this.#nodeCursor[local]!;
    while (entry >= route.entryOffsets[node + 1]!) node++;
    this.#nodeCursor[local] = node;
    const at = entry - route.entryOffsets[node]!;
    if (node === this.#node) {
      this.#packer.write(route.sendItems[route.sendOffsets[node]! + at]!, target, offset);
    } else {
      const stream = this.#fromNodes.receive[this.#sourceOf(node)]!;
      if (at >= stream.reach) return false;
      copyPart(stream.buffer, stream.offsetOf(at), target, offset, this.#format.bytes);
    }
    this.#packed[local] = index + 1;
    return true;
  }

  missing(out: Set<number>): void {
    unfinished(this.streams, out);
  }

  #sourceOf(node: number): number {
    return node * this.#config.ranksPerNode + (this.#rank - this.#firstLocal);
  }

  #poll(): void {
    for (let node = 0; node < this.#config.nodes; node++) {
      if (node !== this.#node) this.#fromNodes.receive[this.#sourceOf(node)]!.ready();
    }
  }

  /** Lists the local ranks of each entry, node by node in ascending order. */
  #parse(route: Route): void {
    const { nodes, topK } = this.#config;
    this.#poll();
    while (this.#parseNode < nodes) {
      const node = this.#parseNode;
      const first = route.entryOffsets[node]!;
      if (node === this.#node) {
        const start = route.sendOffsets[node]!;
        const count = route.sendOffsets[node + 1]! - start;
        for (let i = 0; i < count; i++) {
          this.#list(route, first + i, this.#topkIdx!, route.sendItems[start + i]! * topK);
        }
        route.entryOffsets[node + 1] = first + count;
      } else {
        const stream = this.#fromNodes.receive[this.#sourceOf(node)]!;
        while (this.#parseIndex < stream.reach) {
          const experts = (stream.offsetOf(this.#parseIndex) + this.#format.expertsOffset) >>> 2;
          this.#list(route, first + this.#parseIndex, stream.buffer.i32, experts);
          this.#parseIndex++;
        }
        if (stream.expected < 0 || this.#parseIndex < stream.expected) return;
        route.entryOffsets[node + 1] = first + stream.expected;
      }
      this.#parseIndex = 0;
      this.#parseNode++;
    }
    this.#parsing = false;
    this.#topkIdx = undefined;
  }

  #list(route: Route, entry: number, experts: Int32Array, start: number): void {
    const { topK, localExperts, ranksPerNode } = this.#config;
    const firstExpert = this.#firstLocal * localExperts;
    const seen = this.#seen;
    seen.fill(0);
    for (let slot = start; slot < start + topK; slot++) {
      const expert = experts[slot]! - firstExpert;
      if (expert >= 0 && expert < ranksPerNode * localExperts) seen[(expert / localExperts) | 0] = 1;
    }
    for (let local = 0; local < ranksPerNode; local++) {
      if (seen[local] === 0) continue;
      const count = route.forwardCounts[local]!;
      route.forwardEntries[local * route.entryCapacity + count] = entry;
      route.forwardCounts[local] = count + 1;
    }
  }

  /** Gives back messages that no local rank needs any more. */
  #free(route: Route): void {
    const { nodes } = this.#config;
    for (let node = 0; node < nodes; node++) {
      if (node === this.#node) continue;
      const stream = this.#fromNodes.receive[this.#sourceOf(node)]!;
      const first = route.entryOffsets[node]!;
      const listed =
        !this.#parsing || node < this.#parseNode
          ? stream.reach
          : node > this.#parseNode
            ? 0
            : this.#parseIndex;
      while (
        stream.index < listed &&
        stream.index < stream.reach &&
        !this.#needed(route, first + stream.index)
      ) {
        stream.next();
      }
    }
  }

  #needed(route: Route, entry: number): boolean {
    for (let local = 0; local < this.locals.length; local++) {
      const next = this.#packed[local]!;
      if (
        next < route.forwardCounts[local]! &&
        route.forwardEntries[local * route.entryCapacity + next]! <= entry
      ) {
        return true;
      }
    }
    return false;
  }
}
