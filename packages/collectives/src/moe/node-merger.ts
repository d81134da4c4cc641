import { addWeights, needToken } from './direct-combine.js';
import type { SlotEnvironment } from './environment.js';
import { combineMessage, type MessageFormat } from './message.js';
import { MessageBuffer } from './message-buffer.js';
import type { Route } from './route.js';
import { RowSum } from './rows.js';
import type { MessageSource, Streams } from './streams.js';

/**
 * The forwarder's half of a hierarchical combine: adds the rows of each entry over the local ranks in ascending order and rounds
 * the sum to the combine format. Sums for other nodes go into the messages to them, those for the own node are kept.
 */
export class NodeMerger implements MessageSource {
  /** Messages with the sums of the own tokens, in the order of the own node's entries. */
  readonly own: MessageBuffer;
  readonly format: MessageFormat;
  readonly #rows: Streams;
  readonly #rank: number;
  readonly #ranksPerNode: number;
  readonly #node: number;
  readonly #nodes: number;
  readonly #sum: RowSum;
  readonly #weights: Float32Array;
  /** Per local rank: entries taken from its stream. */
  readonly #taken: Int32Array;
  #route: Route | undefined;
  #next = 0;
  #entryNode = 0;
  #local = -1;

  /** @param rows - streams from the local ranks. */
  constructor(env: SlotEnvironment, rows: Streams) {
    const { config, transport } = env;
    this.format = combineMessage(config);
    this.#rows = rows;
    this.#rank = transport.rank;
    this.#ranksPerNode = config.ranksPerNode;
    this.#nodes = config.nodes;
    this.#node = Math.floor(transport.rank / config.ranksPerNode);
    this.own = new MessageBuffer(
      new Uint8Array(config.maxTokensPerRank * this.format.bytes),
      this.format.bytes,
    );
    this.#sum = new RowSum(env.sums, config.hidden, config.combinePayload);
    this.#weights = new Float32Array(config.topK);
    this.#taken = new Int32Array(config.ranksPerNode);
  }

  begin(route: Route): void {
    this.#route = route;
    this.#next = 0;
    this.#entryNode = 0;
    this.#local = -1;
    this.#taken.fill(0);
  }

  /** Sums that are complete; grows as entries are merged in order. */
  get merged(): number {
    return this.#next;
  }

  /** Sums of own tokens that are complete. */
  get mergedOwn(): number {
    const { entryOffsets } = this.#route!;
    const first = entryOffsets[this.#node]!;
    return Math.max(0, Math.min(this.#next, entryOffsets[this.#node + 1]!) - first);
  }

  /** Whether every entry is merged. */
  get done(): boolean {
    return this.#next === this.#route!.entryOffsets[this.#nodes]!;
  }

  /** Merges own entries while it is their turn and their rows are here. */
  mergeOwn(): void {
    const { entryOffsets } = this.#route!;
    const first = entryOffsets[this.#node]!;
    const end = entryOffsets[this.#node + 1]!;
    while (this.#next >= first && this.#next < end) {
      if (!this.#merge(this.own, (this.#next - first) * this.format.bytes)) return;
    }
  }

  pack(peer: number, index: number, target: MessageBuffer, offset: number): boolean {
    const node = Math.floor(peer / this.#ranksPerNode);
    if (this.#next !== this.#route!.entryOffsets[node]! + index) return false;
    return this.#merge(target, offset);
  }

  /** Merges the next entry into a message; false when a row of it is missing, to be continued there. */
  #merge(target: MessageBuffer, offset: number): boolean {
    const route = this.#route!;
    const entry = this.#next;
    const { format } = this;
    if (this.#local < 0) {
      this.#sum.clear();
      this.#weights.fill(0);
      this.#local = 0;
      while (entry >= route.entryOffsets[this.#entryNode + 1]!) this.#entryNode++;
      const meta = (offset + format.metaOffset) >>> 2;
      target.i32[meta] = this.#entryNode * this.#ranksPerNode + (this.#rank % this.#ranksPerNode);
      target.i32[meta + 1] = -1;
    }
    const firstLocal = this.#node * this.#ranksPerNode;
    for (; this.#local < this.#ranksPerNode; this.#local++) {
      const taken = this.#taken[this.#local]!;
      if (taken >= route.forwardCounts[this.#local]!) continue;
      if (route.forwardEntries[this.#local * route.entryCapacity + taken] !== entry) continue;
      const stream = this.#rows.receive[firstLocal + this.#local]!;
      if (!stream.ready()) return false;
      const meta = (offset + format.metaOffset) >>> 2;
      if (target.i32[meta + 1] === -1) {
        target.i32[meta + 1] = stream.buffer.i32[((stream.offset + format.metaOffset) >>> 2) + 1]!;
      } else {
        needToken(stream, format, target.i32[meta + 1]!);
      }
      this.#sum.add(stream.buffer, stream.offset + format.dataOffset);
      addWeights(this.#weights, stream.buffer, stream.offset + format.weightsOffset);
      stream.next();
      this.#taken[this.#local] = taken + 1;
    }
    this.#sum.store(target, offset + format.dataOffset);
    target.f32.set(this.#weights, (offset + format.weightsOffset) >>> 2);
    this.#local = -1;
    this.#next++;
    return true;
  }
}
