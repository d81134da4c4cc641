import type { ScaleLayout } from './checkpoint-scales.js';
import { type Checkpoint, SCALE_SUFFIX } from './safetensors-checkpoint.js';
import { dtypeBits, type SafetensorsDtype } from './safetensors-dtype.js';
import { storedToFloat32 } from './stored-values.js';

/** Reads any range of a tensor's values as float32, block scales applied, in memory that does not grow with it. */
export class ValueReader {
  readonly dtype: SafetensorsDtype;
  /** Of the scales; undefined when the tensor has none. */
  readonly layout: ScaleLayout | undefined;
  /** `[blockRows, blockCols]` of the layout; empty without one. */
  readonly scales: Float32Array;
  private readonly checkpoint: Checkpoint;
  private readonly name: string;
  private raw = new Uint8Array(0);

  private constructor(
    checkpoint: Checkpoint,
    name: string,
    layout: ScaleLayout | undefined,
    scales: Float32Array,
  ) {
    this.checkpoint = checkpoint;
    this.name = name;
    this.dtype = checkpoint.info(name).dtype;
    this.layout = layout;
    this.scales = scales;
  }

  /** @param layout - of the tensor's scales; undefined when it has none. */
  static async open(
    checkpoint: Checkpoint,
    name: string,
    layout: ScaleLayout | undefined,
  ): Promise<ValueReader> {
    const scales =
      layout === undefined ? new Float32Array(0) : await checkpoint.readFloat32(name + SCALE_SUFFIX);
    return new ValueReader(checkpoint, name, layout, scales);
  }

  /** Stored bytes of `elements` elements from `first` on; valid until the next call. */
  async readRaw(first: number, elements: number): Promise<Uint8Array> {
    const elementBytes = dtypeBits[this.dtype] / 8;
    if (this.raw.length < elements * elementBytes) this.raw = new Uint8Array(elements * elementBytes);
    const raw = this.raw.subarray(0, elements * elementBytes);
    await this.checkpoint.readInto(this.name, raw, first * elementBytes);
    return raw;
  }

  /**
   * Fills `out` with the values from element `first` on, counted row-major.
   *
   * @returns their stored bytes, valid until the next call.
   */
  async read(first: number, out: Float32Array): Promise<Uint8Array> {
    const raw = await this.readRaw(first, out.length);
    this.decode(raw, first, out);
    return raw;
  }

  /** Fills `out` with the values of stored bytes that begin with element `first`. */
  decode(raw: Uint8Array, first: number, out: Float32Array): void {
    storedToFloat32(this.dtype, raw, out);
    if (this.layout !== undefined) scaleRange(out, first, this.scales, this.layout);
  }
}

/** Multiplies the values of elements `first`, `first + 1` ... by their blocks' scales, each rounded to float32. */
export function scaleRange(
  values: Float32Array,
  first: number,
  scales: Float32Array,
  layout: ScaleLayout,
): void {
  const { cols, block, blockCols } = layout;
  for (let i = 0; i < values.length; ) {
    const row = Math.floor((first + i) / cols);
    const col = first + i - row * cols;
    const tile = Math.floor(col / block[1]);
    const scale = scales[Math.floor(row / block[0]) * blockCols + tile]!;
    const end = Math.min(i + Math.min((tile + 1) * block[1], cols) - col, values.length);
    for (; i < end; i++) values[i] = values[i]! * scale;
  }
}
