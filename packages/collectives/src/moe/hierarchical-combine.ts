import { BiasRows } from './combine-input.js';
import { addWeights, CombinePacker, type CombineRows, needToken } from './direct-combine.js';
import { peersFrom, SLOT_TAGS, type SlotEnvironment } from './environment.js';
import { combineMessage, type MessageFormat } from './message.js';
import { type MessageBuffer, noMessages, RowView } from './message-buffer.js';
import { NodeMerger } from './node-merger.js';
import type { Phase } from './phase.js';
import type { Route } from './route.js';
import { RowSum } from './rows.js';
import { type MessageSource, openStreams, type Streams, unfinished } from './streams.js';

/**
 * Returns every row to the forwarder it came through, which adds the rows of its node and sends one sum to the source; the source
 * adds the sums of the nodes in ascending order.
 */
export class HierarchicalCombine implements Phase, MessageSource {
  readonly #env: SlotEnvironment;
  readonly #node: number;
  readonly #local: number;
  readonly #locals: readonly number[];
  readonly #rail: readonly number[];
  readonly #rowStreams: Streams;
  readonly #nodeStreams: Streams;
  readonly #merger: NodeMerger;
  readonly #format: MessageFormat;
  readonly #packer: CombinePacker;
  readonly #bias: BiasRows;
  readonly #sum: RowSum;
  readonly #weights: Float32Array;
  readonly #outView: RowView;
  /** Per forwarder: source node and rows of it that are packed. */
  readonly #packNode: Int32Array;
  readonly #packRow: Int32Array;
  readonly #taken: Int32Array;
  #route: Route | undefined;
  #out: MessageBuffer = noMessages;
  #outWeights: Float32Array = new Float32Array(0);
  #token = 0;
  #tokenNode = -1;

  constructor(env: SlotEnvironment) {
    const { transport, config } = env;
    const { nodes, ranksPerNode } = config;
    this.#env = env;
    this.#node = Math.floor(transport.rank / ranksPerNode);
    this.#local = transport.rank % ranksPerNode;
    this.#locals = peersFrom(this.#local, ranksPerNode).map((local) => this.#node * ranksPerNode + local);
    this.#rail = peersFrom(this.#node, nodes)
      .filter((node) => node !== this.#node)
      .map((node) => node * ranksPerNode + this.#local)
      .sort((a, b) => a - b);
    const rowChunk = Math.min(config.chunkTokens * nodes, config.maxTokensPerRank * nodes);
    const counters = env.counters.combine;
    this.#rowStreams = openStreams(transport, {
      tag: env.firstTag + SLOT_TAGS.combine,
      peers: this.#locals,
      messageBytes: combineMessage(config).bytes,
      sendChunk: rowChunk,
      receiveChunk: rowChunk,
      counters,
    });
    this.#nodeStreams = openStreams(transport, {
      tag: env.firstTag + SLOT_TAGS.combineNode,
      peers: this.#rail,
      messageBytes: combineMessage(config).bytes,
      sendChunk: config.chunkTokens,
      receiveChunk: config.chunkTokens,
      counters,
    });
    this.#merger = new NodeMerger(env, this.#rowStreams);
    this.#format = this.#merger.format;
    this.#packer = new CombinePacker(this.#format, config.topK, config.hidden);
    this.#bias = new BiasRows(config.hidden, config.combinePayload);
    this.#sum = new RowSum(env.sums, config.hidden, config.combinePayload);
    this.#outView = new RowView(config.hidden);
    this.#weights = new Float32Array(config.topK);
    this.#packNode = new Int32Array(ranksPerNode);
    this.#packRow = new Int32Array(ranksPerNode);
    this.#taken = new Int32Array(nodes);
  }

  begin(route: Route, rows: CombineRows): void {
    const { hidden, nodes, ranksPerNode } = this.#env.config;
    this.#route = route;
    this.#packer.begin(rows.x, route.rows * hidden, rows.topkWeights);
    this.#bias.begin(rows.biases, route.tokens * hidden);
    this.#out = this.#outView.of(rows.out, route.tokens * hidden);
    this.#outWeights = rows.outWeights;
    this.#merger.begin(route);
    this.#packNode.fill(0);
    this.#packRow.fill(0);
    this.#taken.fill(0);
    this.#token = 0;
    this.#tokenNode = -1;
    for (let local = 0; local < ranksPerNode; local++) {
      const peer = this.#node * ranksPerNode + local;
      let outgoing = 0;
      for (let node = 0; node < nodes; node++) outgoing += route.received[node * ranksPerNode + local]!;
      this.#rowStreams.send[peer]!.begin(outgoing, false);
      this.#rowStreams.receive[peer]!.begin(route.forwardCounts[local]!);
    }
    for (let i = 0; i < this.#rail.length; i++) {
      const peer = this.#rail[i]!;
      const node = Math.floor(peer / ranksPerNode);
      this.#nodeStreams.send[peer]!.begin(route.entryOffsets[node + 1]! - route.entryOffsets[node]!, false);
      this.#nodeStreams.receive[peer]!.begin(route.sendOffsets[node + 1]! - route.sendOffsets[node]!);
    }
  }

  advance(): boolean {
    let done = true;
    for (let i = 0; i < this.#locals.length; i++) {
      if (!this.#rowStreams.send[this.#locals[i]!]!.advance(this)) done = false;
    }
    for (let before = -1; before !== this.#merger.merged; ) {
      before = this.#merger.merged;
      this.#merger.mergeOwn();
      for (let i = 0; i < this.#rail.length; i++) {
        this.#nodeStreams.send[this.#rail[i]!]!.advance(this.#merger);
      }
    }
    for (let i = 0; i < this.#rail.length; i++) {
      if (!this.#nodeStreams.send[this.#rail[i]!]!.done) done = false;
    }
    if (!this.#merger.done) done = false;
    if (!this.#collect(this.#route!)) done = false;
    if (done) this.#packer.end();
    return done;
  }

  /** Packs rows for a forwarder in the order in which it sent them: by source node, then row. */
  pack(peer: number, _index: number, target: MessageBuffer, offset: number): boolean {
    const route = this.#route!;
    const { ranksPerNode } = this.#env.config;
    const local = peer - this.#node * ranksPerNode;
    let node = this.#packNode[local]!;
    let at = this.#packRow[local]!;
    while (at === route.received[node * ranksPerNode + local]!) {
      node++;
      at = 0;
    }
    const source = node * ranksPerNode + local;
    const row = route.receiveOffsets[source]! + at;
    this.#packer.write(row, source, route.srcIdx[row]!, target, offset);
    this.#packNode[local] = node;
    this.#packRow[local] = at + 1;
    return true;
  }

  missing(out: Set<number>): void {
    unfinished(this.#rowStreams, out);
    unfinished(this.#nodeStreams, out);
  }

  /** Adds the sums of the nodes, token by token; stops where one is missing and goes on there. */
  #collect(route: Route): boolean {
    const { nodes, ranksPerNode, topK } = this.#env.config;
    const format = this.#format;
    while (this.#token < route.tokens) {
      const token = this.#token;
      if (this.#tokenNode < 0) {
        this.#bias.start(token, this.#sum);
        this.#weights.fill(0);
        this.#tokenNode = 0;
      }
      for (; this.#tokenNode < nodes; this.#tokenNode++) {
        const node = this.#tokenNode;
        const taken = this.#taken[node]!;
        const at = route.sendOffsets[node]! + taken;
        if (at >= route.sendOffsets[node + 1]! || route.sendItems[at] !== token) continue;
        if (node === this.#node) {
          if (taken >= this.#merger.mergedOwn) return false;
          const offset = taken * format.bytes;
          this.#sum.add(this.#merger.own, offset + format.dataOffset);
          addWeights(this.#weights, this.#merger.own, offset + format.weightsOffset);
        } else {
          const stream = this.#nodeStreams.receive[node * ranksPerNode + this.#local]!;
          if (!stream.ready()) return false;
          needToken(stream, format, token);
          this.#sum.add(stream.buffer, stream.offset + format.dataOffset);
          addWeights(this.#weights, stream.buffer, stream.offset + format.weightsOffset);
          stream.next();
        }
        this.#taken[node] = taken + 1;
      }
      this.#sum.store(this.#out, token * format.dataBytes);
      this.#outWeights.set(this.#weights, token * topK);
      this.#tokenNode = -1;
      this.#token++;
    }
    return true;
  }
}
