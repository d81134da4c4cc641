import { peersFrom, SLOT_TAGS, type SlotEnvironment } from './environment.js';
import { combineMessage, type MessageFormat } from './message.js';
import { copyPart, MessageBuffer, noMessages, RowView } from './message-buffer.js';
import type { Phase } from './phase.js';
import type { Route } from './route.js';
import { RowSum } from './rows.js';
import { type MessageSource, openStreams, type Streams, unfinished } from './streams.js';

/** What a low-latency combine sends and where its result goes; checked by the caller. */
export interface ExpertCombineRows {
  /** [E/R, R * M, H] in the combine format. */
  readonly x: Float32Array | Uint16Array;
  /** [T, K]. */
  readonly topkWeights: Float32Array;
  /** [T, H]. */
  readonly out: Float32Array | Uint16Array;
}

/**
 * Returns every expert row to its source, which adds weight times row over the slots in ascending order: product and sum are
 * rounded to float32, the result once to the combine format. Slots without a selection and slots on masked ranks are skipped.
 */
export class LowLatencyCombine implements Phase, MessageSource {
  readonly #env: SlotEnvironment;
  readonly #peers: readonly number[];
  readonly #mask: Uint8Array;
  readonly #streams: Streams;
  readonly #format: MessageFormat;
  readonly #view: RowView;
  readonly #outView: RowView;
  readonly #sum: RowSum;
  /** [M, K] rows that came back. */
  readonly #slots: MessageBuffer;
  readonly #present: Uint8Array;
  #x: MessageBuffer = noMessages;
  #route: Route | undefined;
  #rows: ExpertCombineRows | undefined;

  constructor(env: SlotEnvironment, mask: Uint8Array) {
    const { transport, config } = env;
    this.#env = env;
    this.#mask = mask;
    this.#peers = peersFrom(transport.rank, transport.size);
    this.#format = combineMessage(config);
    this.#view = new RowView(config.hidden);
    this.#outView = new RowView(config.hidden);
    this.#sum = new RowSum(env.sums, config.hidden, config.combinePayload);
    const slots = config.maxTokensPerRank * config.topK;
    this.#slots = new MessageBuffer(new Uint8Array(slots * this.#format.bytes), this.#format.bytes);
    this.#present = new Uint8Array(slots);
    this.#streams = openStreams(transport, {
      tag: env.firstTag + SLOT_TAGS.combine,
      peers: this.#peers,
      messageBytes: this.#format.bytes,
      sendChunk: config.chunkTokens,
      receiveChunk: config.chunkTokens,
      counters: env.counters.combine,
    });
  }

  begin(route: Route, rows: ExpertCombineRows): void {
    const { localExperts, ranks, hidden } = this.#env.config;
    this.#route = route;
    this.#rows = rows;
    this.#x = this.#view.of(rows.x, rows.x.length);
    this.#present.fill(0, 0, route.tokens * this.#env.config.topK);
    for (let i = 0; i < this.#peers.length; i++) {
      const peer = this.#peers[i]!;
      const masked = this.#mask[peer] === 1;
      let outgoing = 0;
      for (let e = 0; e < localExperts; e++) outgoing += route.received[e * ranks + peer]!;
      const first = peer * localExperts;
      const incoming = route.sendOffsets[first + localExperts]! - route.sendOffsets[first]!;
      this.#streams.send[peer]!.begin(masked ? 0 : outgoing, false);
      this.#streams.receive[peer]!.begin(masked ? 0 : incoming);
    }
    this.#outView.of(rows.out, route.tokens * hidden);
  }

  advance(): boolean {
    if (this.#rows === undefined) return true;
    const route = this.#route!;
    const { localExperts } = this.#env.config;
    let done = true;
    for (let i = 0; i < this.#peers.length; i++) {
      const peer = this.#peers[i]!;
      if (!this.#streams.send[peer]!.advance(this)) done = false;
      const stream = this.#streams.receive[peer]!;
      const first = route.sendOffsets[peer * localExperts]!;
      while (stream.ready()) {
        const selection = route.sendItems[first + stream.index]!;
        const bytes = this.#format.bytes;
        copyPart(stream.buffer, stream.offset, this.#slots, selection * bytes, bytes);
        this.#present[selection] = 1;
        stream.next();
      }
      if (!stream.done) done = false;
    }
    if (done) this.#reduce(route);
    return done;
  }

  /** Rows for a source in the order of its messages: by expert, then row. */
  pack(peer: number, index: number, target: MessageBuffer, offset: number): boolean {
    const route = this.#route!;
    const { localExperts, ranks, maxTokensPerRank } = this.#env.config;
    let expert = 0;
    let at = index;
    for (; at >= route.received[expert * ranks + peer]!; expert++)
      at -= route.received[expert * ranks + peer]!;
    if (expert >= localExperts) return false;
    const row = expert * ranks * maxTokensPerRank + route.begins[expert * ranks + peer]! + at;
    copyPart(this.#x, row * this.#format.bytes, target, offset, this.#format.bytes);
    return true;
  }

  missing(out: Set<number>): void {
    unfinished(this.#streams, out);
  }

  #reduce(route: Route): void {
    const { topK, hidden } = this.#env.config;
    const { topkWeights, out } = this.#rows!;
    const target = this.#outView.of(out, route.tokens * hidden);
    const bytes = this.#format.bytes;
    for (let token = 0; token < route.tokens; token++) {
      this.#sum.clear();
      for (let selection = token * topK; selection < token * topK + topK; selection++) {
        if (this.#present[selection] === 0) continue;
        this.#sum.addScaled(this.#slots, selection * bytes, topkWeights[selection]!);
      }
      this.#sum.store(target, token * bytes);
    }
    this.#rows = undefined;
  }
}
