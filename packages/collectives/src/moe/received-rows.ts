import type { Transport } from '../communicator/transport.js';
import { type DispatcherConfig, SCALE_BLOCK } from './config.js';
import { dispatchMessage, type MessageFormat, rowBytes } from './message.js';
import { copyPart, copyWords, MessageBuffer } from './message-buffer.js';

/** Rows of a payload: float32 values, bfloat16 codes or E4M3 codes. */
export type RowArray = Float32Array | Uint16Array | Uint8Array;

/** Output arrays of normal dispatch, one set for each result that can be alive. */
export class ReceivedRows {
  readonly x: RowArray;
  readonly scales: Float32Array | undefined;
  readonly topkIdx: Int32Array;
  readonly topkWeights: Float32Array;
  readonly srcRank: Int32Array;
  readonly data: MessageBuffer;
  readonly scaleBuffer: MessageBuffer | undefined;
  readonly #format: MessageFormat;
  readonly #rowBytes: number;
  readonly #topK: number;
  readonly #firstExpert: number;
  readonly #localExperts: number;

  constructor(transport: Transport, config: DispatcherConfig) {
    const { maxReceiveTokens: rows, hidden, topK, payload } = config;
    this.#format = dispatchMessage(config);
    this.#rowBytes = rowBytes(payload, hidden);
    const bytes = transport.allocate(rows * this.#rowBytes);
    this.data = new MessageBuffer(bytes, this.#rowBytes);
    this.x = payload === 'f32' ? this.data.f32 : payload === 'bf16' ? this.data.u16 : bytes;
    if (payload === 'fp8') {
      const scaleBytes = (hidden * 4) / SCALE_BLOCK;
      this.scaleBuffer = new MessageBuffer(transport.allocate(rows * scaleBytes), scaleBytes);
      this.scales = this.scaleBuffer.f32;
    }
    this.topkIdx = new Int32Array(rows * topK);
    this.topkWeights = new Float32Array(rows * topK);
    this.srcRank = new Int32Array(rows);
    this.#topK = topK;
    this.#localExperts = config.localExperts;
    this.#firstExpert = transport.rank * config.localExperts;
  }

  /** Unpacks a message into a row; without `routed` (cached dispatch) the selections stay as they are. */
  write(row: number, message: MessageBuffer, offset: number, routed: boolean): void {
    const format = this.#format;
    copyPart(message, offset + format.dataOffset, this.data, row * this.#rowBytes, format.dataBytes);
    if (this.scaleBuffer !== undefined) {
      const bytes = format.scales * 4;
      copyWords(message, offset + format.scalesOffset, this.scaleBuffer, row * bytes, bytes);
    }
    this.srcRank[row] = message.i32[(offset + format.metaOffset) >>> 2]!;
    if (!routed) return;
    const experts = (offset + format.expertsOffset) >>> 2;
    const weights = (offset + format.weightsOffset) >>> 2;
    const out = row * this.#topK;
    for (let slot = 0; slot < this.#topK; slot++) {
      const local = message.i32[experts + slot]! - this.#firstExpert;
      const here = local >= 0 && local < this.#localExperts;
      this.topkIdx[out + slot] = here ? local : -1;
      this.topkWeights[out + slot] = here ? message.f32[weights + slot]! : 0;
    }
  }
}
