import { invalidInput, needElements } from './checks.js';
import { type DispatcherConfig, SCALE_BLOCK } from './config.js';
import { dispatchMessage, type MessageFormat, rowBytes } from './message.js';
import { copyPart, copyWords, type MessageBuffer, noMessages, RowView } from './message-buffer.js';
import type { RowArray } from './received-rows.js';

/** What a normal dispatch sends, before routing. */
export interface TokenRows {
  /** [T, H] in the payload's element type. */
  readonly x: RowArray;
  /** [T, H/128], payload `fp8` only: carried along with the rows. */
  readonly scales?: Float32Array;
}

/** Checks that rows have the payload's type and length. */
export function checkRows(
  name: string,
  rows: RowArray,
  format: 'f32' | 'bf16' | 'fp8',
  length: number,
): void {
  const kind = format === 'f32' ? Float32Array : format === 'bf16' ? Uint16Array : Uint8Array;
  if (!(rows instanceof kind)) {
    const got = (rows as object | undefined)?.constructor?.name;
    throw invalidInput(name, `a ${kind.name} (${format})`, got);
  }
  needElements(name, rows, length);
}

/** Writes messages of normal dispatch from the caller's arrays. */
export class TokenPacker {
  readonly #config: DispatcherConfig;
  readonly #format: MessageFormat;
  readonly #rowBytes: number;
  readonly #rank: number;
  readonly #xView: RowView;
  readonly #scaleView: RowView;
  #x: MessageBuffer = noMessages;
  #scales: MessageBuffer | undefined;
  #topkIdx: Int32Array | undefined;
  #topkWeights: Float32Array | undefined;

  constructor(config: DispatcherConfig, rank: number) {
    this.#config = config;
    this.#format = dispatchMessage(config);
    this.#rowBytes = rowBytes(config.payload, config.hidden);
    this.#rank = rank;
    this.#xView = new RowView(config.hidden);
    this.#scaleView = new RowView(config.hidden / SCALE_BLOCK);
  }

  /** Checks the rows of `tokens` tokens; throws before anything is changed. */
  check(rows: TokenRows, tokens: number, topkWeights: Float32Array | undefined): void {
    const { payload, hidden, topK } = this.#config;
    checkRows('x', rows.x, payload, tokens * hidden);
    if (payload === 'fp8') {
      if (!(rows.scales instanceof Float32Array)) {
        throw invalidInput(
          'scales',
          'a Float32Array with one scale for each 128 channels',
          typeof rows.scales,
        );
      }
      needElements('scales', rows.scales, (tokens * hidden) / SCALE_BLOCK);
    } else if (rows.scales !== undefined) {
      throw invalidInput('scales', `no scales with payload ${payload}`, 'an array');
    }
    if (topkWeights !== undefined) {
      if (!(topkWeights instanceof Float32Array)) {
        throw invalidInput('topkWeights', 'a Float32Array', typeof topkWeights);
      }
      needElements('topkWeights', topkWeights, tokens * topK);
    }
  }

  /** Begins to read from these arrays; without selections messages carry -1 and 0. */
  begin(
    rows: TokenRows,
    tokens: number,
    topkIdx: Int32Array | undefined,
    topkWeights: Float32Array | undefined,
  ): void {
    this.#x = this.#xView.of(rows.x, tokens * this.#config.hidden);
    this.#scales =
      rows.scales === undefined
        ? undefined
        : this.#scaleView.of(rows.scales, (tokens * this.#config.hidden) / SCALE_BLOCK);
    this.#topkIdx = topkIdx;
    this.#topkWeights = topkWeights;
  }

  /** Lets go of the caller's arrays. */
  end(): void {
    this.#topkIdx = undefined;
    this.#topkWeights = undefined;
  }

  /** Writes the message of a token at byte `offset`. */
  write(token: number, target: MessageBuffer, offset: number): void {
    const format = this.#format;
    const { topK } = this.#config;
    const meta = (offset + format.metaOffset) >>> 2;
    target.i32[meta] = this.#rank;
    target.i32[meta + 1] = token;
    const experts = (offset + format.expertsOffset) >>> 2;
    const weights = (offset + format.weightsOffset) >>> 2;
    const idx = this.#topkIdx;
    const given = this.#topkWeights;
    for (let slot = 0; slot < topK; slot++) {
      target.i32[experts + slot] = idx === undefined ? -1 : idx[token * topK + slot]!;
      target.f32[weights + slot] = given === undefined ? 0 : given[token * topK + slot]!;
    }
    if (this.#scales !== undefined) {
      const bytes = format.scales * 4;
      copyWords(this.#scales, token * bytes, target, offset + format.scalesOffset, bytes);
    }
    copyPart(this.#x, token * this.#rowBytes, target, offset + format.dataOffset, format.dataBytes);
  }
}
