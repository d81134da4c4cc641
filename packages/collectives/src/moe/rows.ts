import type { RowSumKernel, RowSumKernels } from '@moestack/kernels';
import type { CombineFormat } from './config.js';
import type { MessageBuffer } from './message-buffer.js';

/** One row of float32 sums: rows of messages are added in the caller's order, each addition rounded to float32. */
export class RowSum {
  readonly #kernel: RowSumKernel;
  readonly #half: boolean;
  readonly #rowBytes: number;

  constructor(kernels: RowSumKernels, hidden: number, format: CombineFormat) {
    this.#kernel = kernels.open(hidden);
    this.#half = format === 'bf16';
    this.#rowBytes = hidden * (this.#half ? 2 : 4);
  }

  /** Starts at zero. */
  clear(): void {
    this.#kernel.values.fill(0);
  }

  /** Adds the row at byte `offset`. */
  add(buffer: MessageBuffer, offset: number): void {
    this.#load(buffer, offset);
    if (this.#half) this.#kernel.addBf16();
    else this.#kernel.addF32();
  }

  /** Adds `weight` times the row at byte `offset`: the product is rounded, then the sum. */
  addScaled(buffer: MessageBuffer, offset: number, weight: number): void {
    this.#load(buffer, offset);
    if (this.#half) this.#kernel.addScaledBf16(weight);
    else this.#kernel.addScaledF32(weight);
  }

  /** Writes the row at byte `offset`; bfloat16 is rounded to nearest even. */
  store(buffer: MessageBuffer, offset: number): void {
    if (this.#half) this.storeBf16(buffer, offset);
    else this.storeF32(buffer, offset);
  }

  /** Writes the row as bfloat16, whatever the format of the summands. */
  storeBf16(buffer: MessageBuffer, offset: number): void {
    this.#kernel.packBf16();
    buffer.u16.set(this.#kernel.bf16, offset >>> 1);
  }

  /** Writes the row as float32. */
  storeF32(buffer: MessageBuffer, offset: number): void {
    buffer.f32.set(this.#kernel.values, offset >>> 2);
  }

  #load(buffer: MessageBuffer, offset: number): void {
    this.#kernel.words.set(buffer.part(offset, this.#rowBytes >>> 2));
  }
}
