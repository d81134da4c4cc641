import type { Runtime } from './runtime.js';

/**
 * Values that backward needs again and that enter no product: inputs of norms, the residual stream. In the `f32` recipe
 * each has memory of its own; in all others they are rounded to bfloat16, kept as codes, and laid out in shared room while in
 * use, so that forward and backward see the same values.
 */
export class KeptRows {
  /** The values; in shared room only until others are kept or loaded there. */
  readonly values: Float32Array;
  readonly #runtime: Runtime;
  readonly #codes: Uint16Array | undefined;

  /** @param shared - room of as many elements. */
  constructor(runtime: Runtime, shared: Float32Array) {
    const isExact = runtime.config.recipe.name === 'f32';
    this.#runtime = runtime;
    this.values = isExact ? runtime.arena.f32(shared.length) : shared;
    this.#codes = isExact ? undefined : runtime.arena.u16(shared.length);
  }

  /** Keeps what `values` holds, rounding it. */
  keep(): void {
    const { kernels } = this.#runtime;
    const { values } = this;
    if (this.#codes === undefined) return;
    kernels.packBf16(values, this.#codes, values.length);
    kernels.unpackBf16(this.#codes, values, values.length);
  }

  /** Lays the kept values out again. */
  load(): void {
    if (this.#codes !== undefined)
      this.#runtime.kernels.unpackBf16(this.#codes, this.values, this.values.length);
  }

  /** Bytes kept. */
  get bytes(): number {
    return (this.#codes ?? this.values).byteLength;
  }
}
