import type { Arena } from './arena.js';
import { needCount, needLength } from './checks.js';
import { KernelsError } from './errors.js';
import { KernelsBase } from './kernels-base.js';
import { LOGIT_STATS_LENGTH } from './logit-stats-layout.js';
import type { KernelsOptions } from './types.js';

/** Exports of the binary that {@link LogitStatsKernels} uses; addresses in bytes. */
export interface LogitStatsExports {
  /** First pass over `n` logits: updates the maxima and the NaN flag in `state`. */
  logitMaxima(observer: number, performer: number, n: number, state: number): void;
  /** Second pass: adds the sums of exponentials relative to those maxima to `state`. */
  logitSums(observer: number, performer: number, n: number, inverseTemperature: number, state: number): void;
  /** How many of `n` logits are at least a value (`strict` 0) or above it (1). */
  logitsAbove(p: number, n: number, value: number, strict: number): number;
}

/** Entries of each model that are staged at a time, where rows lie outside the arena; a multiple of 4. */
const PIECE = 16_384;
/** Doubles of the binary's state: maxima, center, NaN flag, six sums in four parts. */
const STATE_LENGTH = 28;

/**
 * Statistics of next-token distributions from rows of logits, for scoring texts by language models. Rows outside the arena pass
 * through 128 KiB of working space, whatever the vocabulary.
 */
export class LogitStatsKernels extends KernelsBase {
  readonly #state: Float64Array;
  readonly #stateAddress: number;

  constructor(arena: Arena, options: KernelsOptions = {}) {
    super(arena, options);
    const bytes = arena.u8(STATE_LENGTH * 8);
    this.#state = new Float64Array(bytes.buffer, bytes.byteOffset, STATE_LENGTH);
    this.#stateAddress = bytes.byteOffset;
  }

  /**
   * Sums over one row of logits, in doubles with exponentials of relative error below 3e-14; an entry of -Infinity in the
   * performer is left out of both distributions.
   *
   * `out` (11 values), with x = (logit - maximum) / temperature and e = exp(x): 0 maximum, 1 sum e, 2 sum e x, 3 sum e x^2 of
   * the performer; 4 maximum, 5 sum e of the observer; 6 the performer's logit c at the observer's first maximum; 7 sum e d,
   * 8 sum e d^2 with the observer's e and d = (performer's logit - c) / temperature; 9 rank of `token` from 1, ties by id;
   * 10 is 1 when a logit is NaN or +Infinity, or no entry is finite: then nothing else is written.
   *
   * @param observer - second model's logits `[vocabulary]`, or undefined: 4 to 8 mean nothing then
   * @param performer - logits `[vocabulary]` of the scoring model
   * @param token - id whose rank is wanted, or -1
   */
  logitStats(
    observer: Float32Array | undefined,
    performer: Float32Array,
    vocabulary: number,
    token: number,
    inverseTemperature: number,
    out: Float64Array,
  ): void {
    needCount('vocabulary', vocabulary, 1);
    needCount('token', token, -1);
    needLength('performer', performer, Math.max(vocabulary, token + 1));
    if (observer !== undefined) needLength('observer', observer, vocabulary);
    needLength('out', out, LOGIT_STATS_LENGTH);
    if (token >= vocabulary || !(inverseTemperature > 0 && inverseTemperature < Infinity)) {
      throw new KernelsError({
        code: 'kernels/bad-size',
        message: `expected a token below ${vocabulary} and a positive inverse temperature, got ${token} and ${inverseTemperature}`,
        value: { token, inverseTemperature },
        remedy: 'pass a token id of the vocabulary, or -1, and 1 / temperature',
      });
    }
    this.stats.calls++;
    const state = this.#state;
    state.fill(0);
    state[0] = -Infinity;
    state[1] = observer === undefined ? 0 : -Infinity;
    const inside = this.arena.owns(performer) && (observer === undefined || this.arena.owns(observer));
    const piece = inside || vocabulary < PIECE ? vocabulary : PIECE;
    this.#maxima(observer, performer, vocabulary, piece);
    if (state[3] !== 0 || !Number.isFinite(state[0]!) || !Number.isFinite(state[1]!)) {
      out[10] = 1;
      return;
    }
    const rank = this.#sums(observer, performer, vocabulary, piece, token, inverseTemperature);
    // Which of two zeros came first does not matter.
    out[0] = state[0]! + 0;
    out[4] = state[1]! + 0;
    out[6] = state[2]! + 0;
    for (let k = 0; k < 6; k++) {
      const at = 4 + 4 * k;
      out[SUM_PLACES[k]!] = state[at]! + state[at + 2]! + (state[at + 1]! + state[at + 3]!);
    }
    out[9] = rank;
    out[10] = 0;
  }

  #maxima(
    observer: Float32Array | undefined,
    performer: Float32Array,
    vocabulary: number,
    piece: number,
  ): void {
    for (let start = 0; start < vocabulary; start += piece) {
      const n = Math.min(piece, vocabulary - start);
      this.staging.begin();
      const o = observer === undefined ? 0 : this.staging.input(part(observer, start, n));
      const p = this.staging.input(part(performer, start, n));
      this.wasm.logitMaxima(o, p, n, this.#stateAddress);
    }
  }

  #sums(
    observer: Float32Array | undefined,
    performer: Float32Array,
    vocabulary: number,
    piece: number,
    token: number,
    inverseTemperature: number,
  ): number {
    const value = token < 0 ? 0 : performer[token]!;
    let rank = token < 0 ? 0 : 1;
    for (let start = 0; start < vocabulary; start += piece) {
      const n = Math.min(piece, vocabulary - start);
      this.staging.begin();
      const o = observer === undefined ? 0 : this.staging.input(part(observer, start, n));
      const p = this.staging.input(part(performer, start, n));
      this.wasm.logitSums(o, p, n, inverseTemperature, this.#stateAddress);
      if (token < 0) continue;
      // Ties count where their id is smaller.
      const before = Math.min(Math.max(token - start, 0), n);
      rank += this.wasm.logitsAbove(p, before, value, 0);
      rank += this.wasm.logitsAbove(p + 4 * before, n - before, value, 1);
    }
    return rank;
  }
}

/** Where the six sums go in `out`. */
const SUM_PLACES: readonly number[] = [1, 2, 3, 5, 7, 8];

function part(row: Float32Array, start: number, n: number): Float32Array {
  return n === row.length ? row : row.subarray(start, start + n);
}
