import type { Transport } from '../communicator/transport.js';
import { CollectivesError } from '../errors.js';
import { type DispatcherConfig, SCALE_BLOCK } from './config.js';
import { peersFrom, SLOT_TAGS, type SlotEnvironment } from './environment.js';
import { Fp8Caster } from './fp8-cast.js';
import { checkSelections } from './layout.js';
import { dispatchMessage, type MessageFormat, rowBytes } from './message.js';
import { copyPart, copyWords, MessageBuffer, noMessages, RowView } from './message-buffer.js';
import { type CountRows, Notify } from './notify.js';
import type { Phase } from './phase.js';
import type { RowArray } from './received-rows.js';
import type { Route } from './route.js';
import { type MessageSource, openStreams, type Streams, unfinished } from './streams.js';

/** Output arrays of low-latency dispatch: rows [E/R, R * M], packed from the start of each expert. */
export class ExpertRows {
  readonly x: RowArray;
  /** `fp8` with scales `f32` or `powerOfTwo`: [E/R, R * M, H/128]. */
  readonly scales: Float32Array | undefined;
  /** `fp8` with scales `ue8m0`: exponent bytes instead. */
  readonly scaleCodes: Uint8Array | undefined;
  readonly srcRank: Int32Array;
  readonly counts: Int32Array;
  readonly #data: MessageBuffer;
  readonly #format: MessageFormat;
  readonly #rowBytes: number;

  constructor(transport: Transport, config: DispatcherConfig) {
    const { maxReceiveTokens: rows, hidden, payload, scale } = config;
    this.#format = dispatchMessage(config);
    this.#rowBytes = rowBytes(payload, hidden);
    const bytes = transport.allocate(rows * this.#rowBytes);
    this.#data = new MessageBuffer(bytes, this.#rowBytes);
    this.x = payload === 'f32' ? this.#data.f32 : payload === 'bf16' ? this.#data.u16 : bytes;
    if (payload === 'fp8') {
      const scales = (rows * hidden) / SCALE_BLOCK;
      if (scale === 'ue8m0') this.scaleCodes = new Uint8Array(scales);
      else this.scales = new Float32Array(scales);
    }
    this.srcRank = new Int32Array(rows);
    this.counts = new Int32Array(config.localExperts);
  }

  write(row: number, message: MessageBuffer, offset: number): void {
    const format = this.#format;
    copyPart(message, offset + format.dataOffset, this.#data, row * this.#rowBytes, format.dataBytes);
    const first = (offset + format.scalesOffset) >>> 2;
    for (let i = 0; i < format.scales; i++) {
      if (this.scaleCodes !== undefined) {
        this.scaleCodes[row * format.scales + i] = (message.i32[first + i]! >>> 23) & 0xff;
      } else {
        this.scales![row * format.scales + i] = message.f32[first + i]!;
      }
    }
  }
}

/** Sends one message for every selection into the rows of its expert, casting to FP8 on the way. */
export class LowLatencyDispatch implements Phase, MessageSource, CountRows {
  readonly #env: SlotEnvironment;
  readonly #peers: readonly number[];
  readonly #rows: ExpertRows;
  readonly #mask: Uint8Array;
  readonly #format: MessageFormat;
  readonly #notify: Notify;
  readonly #streams: Streams;
  readonly #caster: Fp8Caster | undefined;
  /** Cast rows of the own tokens. */
  readonly #codes: MessageBuffer | undefined;
  readonly #scales: MessageBuffer | undefined;
  readonly #view: RowView;
  /** `[E]`: selections of each expert; later the next place in its list. */
  readonly #perExpert: Int32Array;
  /** `[R]`: next row and expert of each source's stream. */
  readonly #nextRow: Int32Array;
  #data: MessageBuffer = noMessages;
  #route: Route | undefined;
  #counting = false;

  /** @param mask - [R]; ranks with 1 are neither sent to nor waited for. Copied at each begin by the caller. */
  constructor(env: SlotEnvironment, rows: ExpertRows, mask: Uint8Array) {
    const { transport, config } = env;
    this.#env = env;
    this.#rows = rows;
    this.#mask = mask;
    this.#format = dispatchMessage(config);
    this.#peers = peersFrom(transport.rank, transport.size);
    this.#view = new RowView(config.hidden);
    this.#perExpert = new Int32Array(config.experts);
    this.#nextRow = new Int32Array(config.ranks * config.localExperts);
    if (config.payload === 'fp8') {
      this.#caster = new Fp8Caster(config.hidden, config.scale);
      this.#codes = new MessageBuffer(new Uint8Array(config.maxTokensPerRank * config.hidden), config.hidden);
      this.#scales = new MessageBuffer(
        new Uint8Array((config.maxTokensPerRank * config.hidden * 4) / SCALE_BLOCK),
        (config.hidden * 4) / SCALE_BLOCK,
      );
    }
    this.#notify = new Notify(transport, this, {
      tag: env.firstTag + SLOT_TAGS.counts,
      peers: this.#peers,
      elements: config.localExperts,
      counters: env.counters.control,
    });
    this.#streams = openStreams(transport, {
      tag: env.firstTag + SLOT_TAGS.dispatch,
      peers: this.#peers,
      messageBytes: this.#format.bytes,
      sendChunk: config.chunkTokens,
      receiveChunk: config.chunkTokens,
      counters: env.counters.dispatch,
    });
  }

  /** Lists and counts the selections of a batch into `route`; throws before anything has been sent. */
  plan(route: Route, tokens: number, topkIdx: Int32Array): void {
    const { config } = this.#env;
    checkSelections(topkIdx, tokens, config);
    const { topK, experts, localExperts, maxTokensPerRank } = config;
    const count = this.#perExpert;
    count.fill(0);
    for (let i = 0; i < tokens * topK; i++) {
      const expert = topkIdx[i]!;
      if (expert >= 0 && this.#mask[(expert / localExperts) | 0] === 0) count[expert] = count[expert]! + 1;
    }
    for (let expert = 0; expert < experts; expert++) {
      if (count[expert]! <= maxTokensPerRank) continue;
      throw new CollectivesError({
        code: 'collectives/bad-shape',
        message: `expert ${expert} is selected ${count[expert]} times, it has ${maxTokensPerRank} rows for this rank`,
        value: { expert, selections: count[expert] },
        remedy: 'raise maxTokensPerRank, or do not select an expert twice for one token',
      });
    }
    route.tokens = tokens;
    route.counted = true;
    let at = 0;
    for (let expert = 0; expert < experts; expert++) {
      route.sendOffsets[expert] = at;
      at += count[expert]!;
      count[expert] = route.sendOffsets[expert]!;
    }
    route.sendOffsets[experts] = at;
    for (let i = 0; i < tokens * topK; i++) {
      const expert = topkIdx[i]!;
      if (expert < 0 || this.#mask[(expert / localExperts) | 0] === 1) continue;
      route.sendItems[count[expert]!] = i;
      count[expert] = count[expert]! + 1;
    }
  }

  /** Begins to send a planned batch, or to replay a route whose counts are known (`counted` false: exchange them). */
  begin(route: Route, x: RowArray, counts: boolean): void {
    const { config } = this.#env;
    this.#route = route;
    this.#counting = counts;
    const elements = route.tokens * config.hidden;
    if (this.#caster !== undefined) this.#cast(x, route.tokens);
    else this.#data = this.#view.of(x, elements);
    if (counts) {
      route.received.fill(0);
      this.#notify.begin(this.#mask);
    }
    for (let i = 0; i < this.#peers.length; i++) {
      const peer = this.#peers[i]!;
      const first = peer * config.localExperts;
      const messages = route.sendOffsets[first + config.localExperts]! - route.sendOffsets[first]!;
      this.#streams.send[peer]!.begin(this.#mask[peer] === 1 ? 0 : messages, false);
    }
    if (!counts) this.#expect(route);
  }

  advance(): boolean {
    const route = this.#route!;
    if (this.#counting && this.#notify.advance()) {
      this.#counting = false;
      this.#expect(route);
    }
    let done = !this.#counting;
    for (let i = 0; i < this.#peers.length; i++) {
      if (!this.#streams.send[this.#peers[i]!]!.advance(this)) done = false;
    }
    if (this.#counting) return false;
    const { localExperts, ranks, maxTokensPerRank } = this.#env.config;
    for (let i = 0; i < this.#peers.length; i++) {
      const stream = this.#streams.receive[this.#peers[i]!]!;
      while (stream.ready()) {
        const meta = stream.offset >>> 2;
        const expert = stream.buffer.i32[meta + 1]!;
        const next = stream.peer * localExperts + expert;
        const row = expert * ranks * maxTokensPerRank + this.#nextRow[next]!;
        this.#nextRow[next] = this.#nextRow[next]! + 1;
        this.#rows.write(row, stream.buffer, stream.offset);
        this.#rows.srcRank[row] = stream.peer;
        route.srcIdx[row] = stream.buffer.i32[meta]!;
        stream.next();
      }
      if (!stream.done) done = false;
    }
    return done;
  }

  pack(peer: number, index: number, target: MessageBuffer, offset: number): boolean {
    const route = this.#route!;
    const { localExperts, topK, hidden, payload } = this.#env.config;
    const format = this.#format;
    const at = route.sendOffsets[peer * localExperts]! + index;
    let expert = 0;
    while (at >= route.sendOffsets[peer * localExperts + expert + 1]!) expert++;
    const token = (route.sendItems[at]! / topK) | 0;
    const meta = offset >>> 2;
    target.i32[meta] = token;
    target.i32[meta + 1] = expert;
    target.i32[meta + 2] = 0;
    target.i32[meta + 3] = 0;
    if (this.#codes !== undefined) {
      const bytes = format.scales * 4;
      copyWords(this.#scales!, token * bytes, target, offset + format.scalesOffset, bytes);
      copyPart(this.#codes, token * hidden, target, offset + format.dataOffset, hidden);
    } else {
      const bytes = rowBytes(payload, hidden);
      copyPart(this.#data, token * bytes, target, offset + format.dataOffset, bytes);
    }
    return true;
  }

  writeCounts(peer: number, row: Int32Array, start: number): void {
    const { localExperts } = this.#env.config;
    const { sendOffsets } = this.#route!;
    for (let e = 0; e < localExperts; e++) {
      const expert = peer * localExperts + e;
      row[start + e] = sendOffsets[expert + 1]! - sendOffsets[expert]!;
    }
  }

  readCounts(peer: number, row: Int32Array, start: number): void {
    const { localExperts, ranks } = this.#env.config;
    for (let e = 0; e < localExperts; e++) this.#route!.received[e * ranks + peer] = row[start + e]!;
  }

  missing(out: Set<number>): void {
    if (this.#counting) this.#notify.missing(out);
    else unfinished(this.#streams, out);
  }

  #expect(route: Route): void {
    const { localExperts, ranks } = this.#env.config;
    let rows = 0;
    for (let e = 0; e < localExperts; e++) {
      let begin = 0;
      for (let rank = 0; rank < ranks; rank++) {
        route.begins[e * ranks + rank] = begin;
        this.#nextRow[rank * localExperts + e] = begin;
        begin += route.received[e * ranks + rank]!;
      }
      this.#rows.counts[e] = begin;
      rows += begin;
    }
    route.rows = rows;
    for (let i = 0; i < this.#peers.length; i++) {
      const peer = this.#peers[i]!;
      let messages = 0;
      for (let e = 0; e < localExperts; e++) messages += route.received[e * ranks + peer]!;
      this.#streams.receive[peer]!.begin(this.#mask[peer] === 1 ? 0 : messages);
    }
  }

  #cast(x: RowArray, tokens: number): void {
    const { hidden } = this.#env.config;
    const codes = this.#codes!.u8;
    const scales = this.#scales!.f32;
    const tiles = hidden / SCALE_BLOCK;
    for (let token = 0; token < tokens; token++) {
      if (x instanceof Float32Array) {
        this.#caster!.castF32(x, token * hidden, codes, token * hidden, scales, token * tiles);
      } else {
        this.#caster!.castBf16(
          x as Uint16Array,
          token * hidden,
          codes,
          token * hidden,
          scales,
          token * tiles,
        );
      }
    }
  }
}
