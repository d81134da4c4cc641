import type { Kernels } from '@moestack/kernels';
import { decodeBf16 } from './payload-rows.js';

/** Where combined results arrive, in the combine format, and are added to the residual stream from. */
export class ReturnedRows {
  /** What a combine writes to. */
  readonly target: Float32Array | Uint16Array;
  private readonly kernels: Kernels;
  private readonly hidden: number;
  private readonly sums: Float32Array;
  private readonly bits: Uint32Array;

  constructor(kernels: Kernels, format: 'f32' | 'bf16', hidden: number, maxTokens: number) {
    this.kernels = kernels;
    this.hidden = hidden;
    this.sums = kernels.arena.f32(maxTokens * hidden);
    this.target = format === 'f32' ? this.sums : new Uint16Array(maxTokens * hidden);
    this.bits = new Uint32Array(this.sums.buffer, this.sums.byteOffset, this.sums.length);
  }

  /** Adds the results of `tokens` tokens to `out`. */
  addTo(out: Float32Array, tokens: number): void {
    const length = tokens * this.hidden;
    if (this.target instanceof Uint16Array) decodeBf16(this.target, 0, length, this.bits, 0);
    this.kernels.add(out, this.sums, out, length);
  }
}
