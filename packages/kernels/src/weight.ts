import type { WeightFormat } from './types.js';

/** A weight in the arena, made by {@link Kernels.pack}; valid until its scope of the arena is released. */
export interface Weight {
  readonly format: WeightFormat;
  /** Output features. */
  readonly rows: number;
  /** Input features. */
  readonly cols: number;
  /** Whether it serves whole products only (`panels`) or row ranges and transposed products too (`rows`). */
  readonly layout: 'panels' | 'rows';
  /** Resident bytes, with padding and scales. */
  readonly sizeBytes: number;
}

/** What a {@link Weight} is inside. */
export class PackedWeight implements Weight {
  readonly format: WeightFormat;
  readonly rows: number;
  readonly cols: number;
  readonly layout: 'panels' | 'rows';
  readonly sizeBytes: number;
  /** The memory it lies in. */
  readonly buffer: ArrayBufferLike;
  /** Format and layout as the binary numbers them. */
  readonly formatCode: number;
  readonly layoutCode: number;
  readonly address: number;
  /** Bytes between panels or rows. */
  readonly strideBytes: number;
  /** Address of the scales, 0 for none. */
  readonly scales: number;
  /** Bytes between rows of scales. */
  readonly scaleStrideBytes: number;
  /** (row, col) pairs whose code is NaN: the fast decoder would make them +-480. */
  readonly nanCells: Int32Array | undefined;

  constructor(fields: Omit<PackedWeight, 'formatCode' | 'layoutCode'>) {
    this.format = fields.format;
    this.rows = fields.rows;
    this.cols = fields.cols;
    this.layout = fields.layout;
    this.sizeBytes = fields.sizeBytes;
    this.buffer = fields.buffer;
    this.formatCode = formatCodes[fields.format];
    this.layoutCode = fields.layout === 'panels' ? 0 : 1;
    this.address = fields.address;
    this.strideBytes = fields.strideBytes;
    this.scales = fields.scales;
    this.scaleStrideBytes = fields.scaleStrideBytes;
    this.nanCells = fields.nanCells;
  }
}

/** Formats as the binary numbers them. */
export const formatCodes: Readonly<Record<WeightFormat, number>> = { f32: 0, bf16: 1, e4m3fn: 2 };

/** Bytes of one element. */
export const elementBytes: Readonly<Record<WeightFormat, number>> = { f32: 4, bf16: 2, e4m3fn: 1 };
