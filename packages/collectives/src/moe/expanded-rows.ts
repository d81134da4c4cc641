import { alignUp } from './checks.js';
import { type DispatcherConfig, SCALE_BLOCK } from './config.js';
import type { SlotEnvironment } from './environment.js';
import { rowBytes } from './message.js';
import { copyPart, copyWords, MessageBuffer, RowView } from './message-buffer.js';
import type { ReceivedRows, RowArray } from './received-rows.js';
import type { Route } from './route.js';
import { RowSum } from './rows.js';

/** Rows grouped by local expert: one for each selection of it, in the order (source rank, source token, slot). */
export interface ExpandedLayout {
  /** Rows in use, padding included. */
  readonly rows: number;
  /** [rows, H] in the payload's element type. */
  readonly x: RowArray;
  /** [rows, H/128] with payload `fp8`. */
  readonly scales: Float32Array | undefined;
  /** `[E/R + 1]`: first row of each expert, a multiple of `expertAlignment`. */
  readonly expertOffsets: Int32Array;
  /** `[E/R]`: rows of each expert without padding. */
  readonly counts: Int32Array;
  /** `[rows]`: received row that it is a copy of, -1 for padding. */
  readonly rowOf: Int32Array;
  /** `[rows]`: weight of the selection, 0 for padding. */
  readonly weights: Float32Array;
}

/** Owner of an expanded layout and of the way back. */
export class ExpandedRows implements ExpandedLayout {
  rows = 0;
  readonly x: RowArray;
  readonly scales: Float32Array | undefined;
  readonly expertOffsets: Int32Array;
  readonly counts: Int32Array;
  readonly rowOf: Int32Array;
  readonly weights: Float32Array;
  readonly #config: DispatcherConfig;
  readonly #data: MessageBuffer;
  readonly #scaleBuffer: MessageBuffer | undefined;
  readonly #next: Int32Array;
  /** `[received rows, K]`: expanded row of each selection, -1 for none. */
  readonly #expandedOf: Int32Array;
  /** Sums of expert rows, one for each received row. */
  readonly #reduced: MessageBuffer;
  readonly #floatSum: RowSum;
  readonly #halfSum: RowSum;
  readonly #view: RowView;

  constructor(env: SlotEnvironment) {
    const { transport, config } = env;
    const { localExperts, topK, maxReceiveTokens, hidden, payload, expertAlignment } = config;
    const capacity = maxReceiveTokens * topK + localExperts * (expertAlignment - 1);
    this.#config = config;
    const bytes = transport.allocate(capacity * rowBytes(payload, hidden));
    this.#data = new MessageBuffer(bytes, rowBytes(payload, hidden));
    this.x = payload === 'f32' ? this.#data.f32 : payload === 'bf16' ? this.#data.u16 : bytes;
    if (payload === 'fp8') {
      const scaleBytes = (hidden * 4) / SCALE_BLOCK;
      this.#scaleBuffer = new MessageBuffer(transport.allocate(capacity * scaleBytes), scaleBytes);
      this.scales = this.#scaleBuffer.f32;
    }
    this.expertOffsets = new Int32Array(localExperts + 1);
    this.counts = new Int32Array(localExperts);
    this.#next = new Int32Array(localExperts);
    this.rowOf = new Int32Array(capacity);
    this.weights = new Float32Array(capacity);
    this.#expandedOf = new Int32Array(maxReceiveTokens * topK);
    const outBytes = rowBytes(config.combinePayload, hidden);
    this.#reduced = new MessageBuffer(transport.allocate(maxReceiveTokens * outBytes), outBytes);
    this.#view = new RowView(hidden);
    this.#floatSum = new RowSum(env.sums, hidden, 'f32');
    this.#halfSum = new RowSum(env.sums, hidden, 'bf16');
  }

  /** Lays received rows out by expert; without `routed` (cached dispatch) the places stay as they are. */
  expand(route: Route, received: ReceivedRows, routed: boolean): void {
    const { topK, hidden, payload, zeroPadding } = this.#config;
    if (routed) this.#place(route, received);
    const bytes = rowBytes(payload, hidden);
    const scaleBytes = (hidden * 4) / SCALE_BLOCK;
    for (let i = 0; i < route.rows * topK; i++) {
      const target = this.#expandedOf[i]!;
      if (target < 0) continue;
      const row = (i / topK) | 0;
      copyPart(received.data, row * bytes, this.#data, target * bytes, bytes);
      if (this.#scaleBuffer !== undefined) {
        copyWords(
          received.scaleBuffer!,
          row * scaleBytes,
          this.#scaleBuffer,
          target * scaleBytes,
          scaleBytes,
        );
      }
    }
    if (!zeroPadding) return;
    for (let expert = 0; expert < this.counts.length; expert++) {
      const first = this.expertOffsets[expert]! + this.counts[expert]!;
      const end = this.expertOffsets[expert + 1]!;
      this.#data.u8.fill(0, first * bytes, end * bytes);
      this.#scaleBuffer?.u8.fill(0, first * scaleBytes, end * scaleBytes);
    }
  }

  /**
   * Adds the expert rows of every received row over its slots in ascending order, in float32, optionally times their weights, and
   * rounds once to the combine format.
   *
   * @returns [received rows, H], owned by this object.
   */
  reduce(route: Route, y: Float32Array | Uint16Array, weighted: boolean): Float32Array | Uint16Array {
    const { topK, hidden, combinePayload } = this.#config;
    const float = y instanceof Float32Array;
    const input = this.#view.of(y, this.rows * hidden);
    const sum = float ? this.#floatSum : this.#halfSum;
    const bytes = hidden * (float ? 4 : 2);
    const outBytes = rowBytes(combinePayload, hidden);
    for (let row = 0; row < route.rows; row++) {
      sum.clear();
      for (let i = row * topK; i < row * topK + topK; i++) {
        const source = this.#expandedOf[i]!;
        if (source < 0) continue;
        if (weighted) sum.addScaled(input, source * bytes, this.weights[source]!);
        else sum.add(input, source * bytes);
      }
      if (combinePayload === 'f32') sum.storeF32(this.#reduced, row * outBytes);
      else sum.storeBf16(this.#reduced, row * outBytes);
    }
    return combinePayload === 'f32' ? this.#reduced.f32 : this.#reduced.u16;
  }

  #place(route: Route, received: ReceivedRows): void {
    const { topK, expertAlignment } = this.#config;
    const selections = route.rows * topK;
    this.counts.fill(0);
    for (let i = 0; i < selections; i++) {
      const expert = received.topkIdx[i]!;
      if (expert >= 0) this.counts[expert] = this.counts[expert]! + 1;
    }
    let rows = 0;
    for (let expert = 0; expert < this.counts.length; expert++) {
      this.expertOffsets[expert] = rows;
      this.#next[expert] = rows;
      rows += alignUp(this.counts[expert]!, expertAlignment);
    }
    this.expertOffsets[this.counts.length] = rows;
    this.rows = rows;
    this.rowOf.fill(-1, 0, rows);
    this.weights.fill(0, 0, rows);
    for (let i = 0; i < selections; i++) {
      const expert = received.topkIdx[i]!;
      if (expert < 0) {
        this.#expandedOf[i] = -1;
        continue;
      }
      const row = this.#next[expert]!;
      this.#next[expert] = row + 1;
      this.#expandedOf[i] = row;
      this.rowOf[row] = (i / topK) | 0;
      this.weights[row] = received.topkWeights[i]!;
    }
  }
}
