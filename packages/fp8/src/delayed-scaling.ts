import { type FormatName, formats } from './format-spec.js';
import { invalid } from './scheme.js';

/** Options of {@link DelayedScaling}. */
export interface DelayedScalingOptions {
  /** Format whose maximum the scale aims at. Default `e4m3fn`. */
  readonly format?: FormatName;
  /** Steps that are remembered. Default 1024. */
  readonly historyLength?: number;
  /** The largest amax of the history (default), or the last one. */
  readonly algorithm?: 'max' | 'mostRecent';
  /** Binades left free above the expected amax. Default 0. */
  readonly margin?: number;
}

const FLT_MAX = 3.4028234663852886e38;

/**
 * Delayed scaling of one tensor, as Transformer Engine's `DelayedScaling`: this step's scale comes from the amax of
 * earlier steps, so that a tensor is quantised while it is written.
 *
 * `scale` multiplies values before they are encoded: max / 2^margin / amax in float32. An amax that is 0, NaN or
 * infinite keeps the scale, an infinite scale becomes the largest float32 (`delayed_scaling.cu` and its later edge
 * rules; older releases rounded scales to powers of two).
 *
 * @example
 * ```ts
 * import { DelayedScaling } from '@moestack/fp8';
 *
 * const scaling = new DelayedScaling({ historyLength: 4 });
 * scaling.record(3.5);
 * console.log(scaling.scale, scaling.update()); // 1, then 448 / 3.5
 * ```
 */
export class DelayedScaling {
  readonly format: FormatName;
  readonly #history: Float32Array;
  readonly #algorithm: 'max' | 'mostRecent';
  readonly #scaledMax: number;
  #scale = 1;

  constructor(options: DelayedScalingOptions = {}) {
    const { format = 'e4m3fn', historyLength = 1024, algorithm = 'max', margin = 0 } = options;
    if (!Object.hasOwn(formats, format)) {
      throw invalid('unknown-format', 'a built-in format', format, 'use e4m3fn or e5m2');
    }
    if (!Number.isSafeInteger(historyLength) || historyLength < 1 || historyLength > 2 ** 20) {
      throw invalid(
        'bad-recipe',
        'historyLength from 1 to 2^20',
        historyLength,
        'Transformer Engine uses 1024',
      );
    }
    if (algorithm !== 'max' && algorithm !== 'mostRecent') {
      throw invalid('bad-recipe', 'algorithm as max or mostRecent', algorithm, 'choose one of them');
    }
    if (!(Math.abs(margin) <= 64)) {
      throw invalid('bad-recipe', 'margin from -64 to 64', margin, 'Transformer Engine uses 0');
    }
    this.format = format;
    this.#history = new Float32Array(historyLength);
    this.#algorithm = algorithm;
    this.#scaledMax = Math.fround(formats[format].max * 2 ** -margin);
  }

  /** Factor of the current step; its reciprocal in float32 is the scale of the codes. */
  get scale(): number {
    return this.#scale;
  }

  /** The amax of each remembered step, the current one first. */
  get history(): Float32Array {
    return this.#history.slice();
  }

  /** Notes the amax of a tensor of the current step; the largest of several counts. */
  record(amax: number): void {
    const seen = this.#history[0]!;
    this.#history[0] = Number.isNaN(amax) || Number.isNaN(seen) ? Number.NaN : Math.max(seen, amax);
  }

  /** Ends the step: takes the next scale from the history and makes room for the next amax. @returns the new scale. */
  update(): number {
    const history = this.#history;
    let amax = history[0]!;
    if (this.#algorithm === 'max') {
      amax = 0;
      for (let i = 0; i < history.length; i++) if (history[i]! > amax) amax = history[i]!;
    }
    if (amax > 0 && amax < Number.POSITIVE_INFINITY) {
      this.#scale = Math.min(Math.fround(this.#scaledMax / amax), FLT_MAX);
    }
    const last = history[0]!;
    history.copyWithin(0, 1);
    history[history.length - 1] = last;
    history[0] = 0;
    return this.#scale;
  }
}
