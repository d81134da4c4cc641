import { MismatchError } from '../errors.js';
import { type Biases, BiasRows } from './combine-input.js';
import { peersFrom, SLOT_TAGS, type SlotEnvironment } from './environment.js';
import { combineMessage, type MessageFormat } from './message.js';
import { copyPart, type MessageBuffer, noMessages, RowView } from './message-buffer.js';
import type { Phase } from './phase.js';
import type { Route } from './route.js';
import { RowSum } from './rows.js';
import { type MessageSource, openStreams, type ReceiveStream, type Streams, unfinished } from './streams.js';

/** What a combine of a normal mode sends and where its results go; checked by the caller. */
export interface CombineRows {
  /** [rows, H] in the combine format. */
  readonly x: Float32Array | Uint16Array;
  /** [rows, K], sent along and summed like rows. */
  readonly topkWeights: Float32Array | undefined;
  readonly biases: Biases | undefined;
  /** [T, H]. */
  readonly out: Float32Array | Uint16Array;
  /** [T, K]. */
  readonly outWeights: Float32Array;
}

/** Writes combine messages from the rows of the expert side. */
export class CombinePacker {
  readonly #format: MessageFormat;
  readonly #topK: number;
  readonly #view: RowView;
  #x: MessageBuffer = noMessages;
  #weights: Float32Array | undefined;

  constructor(format: MessageFormat, topK: number, hidden: number) {
    this.#view = new RowView(hidden);
    this.#format = format;
    this.#topK = topK;
  }

  begin(x: Float32Array | Uint16Array, elements: number, weights: Float32Array | undefined): void {
    this.#x = this.#view.of(x, elements);
    this.#weights = weights;
  }

  end(): void {
    this.#weights = undefined;
  }

  /** Writes the message of a received row: where it came from, weights, data. */
  write(row: number, srcRank: number, srcIdx: number, target: MessageBuffer, offset: number): void {
    const format = this.#format;
    const meta = (offset + format.metaOffset) >>> 2;
    target.i32[meta] = srcRank;
    target.i32[meta + 1] = srcIdx;
    const weights = (offset + format.weightsOffset) >>> 2;
    for (let slot = 0; slot < this.#topK; slot++) {
      target.f32[weights + slot] = this.#weights === undefined ? 0 : this.#weights[row * this.#topK + slot]!;
    }
    copyPart(this.#x, row * format.dataBytes, target, offset + format.dataOffset, format.dataBytes);
  }
}

/** Adds the K weights of a message. */
export function addWeights(sums: Float32Array, message: MessageBuffer, offset: number): void {
  const first = offset >>> 2;
  for (let slot = 0; slot < sums.length; slot++) sums[slot] = sums[slot]! + message.f32[first + slot]!;
}

/** Checks that a message is about the token whose turn it is; anything else means that ranks combine different dispatches. */
export function needToken(stream: ReceiveStream, format: MessageFormat, token: number): void {
  const got = stream.buffer.i32[((stream.offset + format.metaOffset) >>> 2) + 1]!;
  if (got !== token) {
    throw new MismatchError(
      'handle',
      [stream.peer],
      `rank ${stream.peer} combined token ${got} where token ${token} was due`,
    );
  }
}

/** Returns every row to its source, which adds the rows of each token in ascending order of ranks. */
export class DirectCombine implements Phase, MessageSource {
  readonly #env: SlotEnvironment;
  readonly #peers: readonly number[];
  readonly #streams: Streams;
  readonly #format: MessageFormat;
  readonly #packer: CombinePacker;
  readonly #bias: BiasRows;
  readonly #sum: RowSum;
  readonly #weights: Float32Array;
  readonly #outView: RowView;
  /** `[R]`: how many of the tokens sent to a rank are already in their sums. */
  readonly #taken: Int32Array;
  #route: Route | undefined;
  #out: MessageBuffer = noMessages;
  #outWeights: Float32Array = new Float32Array(0);
  #token = 0;
  #rank = -1;

  constructor(env: SlotEnvironment) {
    const { transport, config } = env;
    this.#env = env;
    this.#peers = peersFrom(transport.rank, transport.size);
    this.#format = combineMessage(config);
    this.#packer = new CombinePacker(this.#format, config.topK, config.hidden);
    this.#bias = new BiasRows(config.hidden, config.combinePayload);
    this.#sum = new RowSum(env.sums, config.hidden, config.combinePayload);
    this.#outView = new RowView(config.hidden);
    this.#weights = new Float32Array(config.topK);
    this.#taken = new Int32Array(config.ranks);
    this.#streams = openStreams(transport, {
      tag: env.firstTag + SLOT_TAGS.combine,
      peers: this.#peers,
      messageBytes: this.#format.bytes,
      sendChunk: config.chunkTokens,
      receiveChunk: config.chunkTokens,
      counters: env.counters.combine,
    });
  }

  begin(route: Route, rows: CombineRows): void {
    const { hidden } = this.#env.config;
    this.#route = route;
    this.#packer.begin(rows.x, route.rows * hidden, rows.topkWeights);
    this.#bias.begin(rows.biases, route.tokens * hidden);
    this.#out = this.#outView.of(rows.out, route.tokens * hidden);
    this.#outWeights = rows.outWeights;
    this.#taken.fill(0);
    this.#token = 0;
    this.#rank = -1;
    for (let i = 0; i < this.#peers.length; i++) {
      const peer = this.#peers[i]!;
      this.#streams.send[peer]!.begin(route.received[peer]!, false);
      this.#streams.receive[peer]!.begin(route.sendOffsets[peer + 1]! - route.sendOffsets[peer]!);
    }
  }

  advance(): boolean {
    let done = true;
    for (let i = 0; i < this.#peers.length; i++) {
      if (!this.#streams.send[this.#peers[i]!]!.advance(this)) done = false;
    }
    if (!this.#merge(this.#route!)) done = false;
    if (done) this.#packer.end();
    return done;
  }

  pack(peer: number, index: number, target: MessageBuffer, offset: number): boolean {
    const route = this.#route!;
    const row = route.receiveOffsets[peer]! + index;
    this.#packer.write(row, peer, route.srcIdx[row]!, target, offset);
    return true;
  }

  missing(out: Set<number>): void {
    unfinished(this.#streams, out);
  }

  /** Adds what is here, token by token and rank by rank; stops where a row is still missing and goes on there. */
  #merge(route: Route): boolean {
    const { topK, ranks } = this.#env.config;
    const format = this.#format;
    while (this.#token < route.tokens) {
      const token = this.#token;
      if (this.#rank < 0) {
        this.#bias.start(token, this.#sum);
        this.#weights.fill(0);
        this.#rank = 0;
      }
      while (this.#rank < ranks) {
        const rank = this.#rank;
        const at = route.sendOffsets[rank]! + this.#taken[rank]!;
        if (at < route.sendOffsets[rank + 1]! && route.sendItems[at] === token) {
          const stream = this.#streams.receive[rank]!;
          if (!stream.ready()) return false;
          needToken(stream, format, token);
          this.#sum.add(stream.buffer, stream.offset + format.dataOffset);
          addWeights(this.#weights, stream.buffer, stream.offset + format.weightsOffset);
          stream.next();
          this.#taken[rank] = this.#taken[rank]! + 1;
        }
        this.#rank++;
      }
      this.#sum.store(this.#out, token * format.dataBytes);
      this.#outWeights.set(this.#weights, token * topK);
      this.#rank = -1;
      this.#token++;
    }
    return true;
  }
}
