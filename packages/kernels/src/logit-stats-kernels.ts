import type { Arena } from './arena.js';
import { needCount, needLength } from './checks.js';
import { KernelsError } from './errors.js';
import { KernelsBase } from './kernels-base.js';
import { LOGIT_STATS_LENGTH } from './logit-stats-layout.js';
import type { KernelsOptions } from './types.js';

/** Exports of the binary that {@link LogitStatsKernels} uses; addresses in bytes. */
export interface LogitStatsExports {
  logitStats(
    observer: number,
    performer: number,
    n: number,
    token: number,
    inverseTemperature: number,
    out: number,
  ): void;
}

/** Statistics of next-token distributions in one pass over a row of logits, for scoring texts by language models. */
export class LogitStatsKernels extends KernelsBase {
  readonly #sums: Float64Array;
  readonly #sumsAddress: number;

  constructor(arena: Arena, options: KernelsOptions = {}) {
    super(arena, options);
    const bytes = arena.u8(LOGIT_STATS_LENGTH * 8);
    this.#sums = new Float64Array(bytes.buffer, bytes.byteOffset, LOGIT_STATS_LENGTH);
    this.#sumsAddress = bytes.byteOffset;
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
    const staging = this.staging;
    staging.begin();
    const observerAddress = observer === undefined ? 0 : staging.input(observer);
    this.wasm.logitStats(
      observerAddress,
      staging.input(performer),
      vocabulary,
      token,
      inverseTemperature,
      this.#sumsAddress,
    );
    out.set(this.#sums);
  }
}
