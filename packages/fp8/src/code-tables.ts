import type { ScaleLayout } from './checkpoint-scales.js';
import { decodeTable } from './decode.js';
import type { FormatSpec } from './format-spec.js';

/** Fewest elements under one scale for which a table of 256 results is worth making. */
const LEAST_TILE_ELEMENTS = 2048;
/** Most tables held: 1 MiB of them, which stays in a level-2 cache. */
const MOST_TABLES = 1024;
const CODES = 256;

/** Rounds float32 values to stored elements. */
export type Rounder = (values: Float32Array, out: Uint16Array | Float32Array) => void;

/**
 * Converts 8-bit codes with block scales to wider elements by one table for each scale: every code under a scale has one
 * result, so that converting is looking up.
 */
export class CodeTables {
  private readonly layout: ScaleLayout | undefined;
  private readonly scales: Float32Array;
  private readonly values: Float32Array;
  private readonly round: Rounder;
  private readonly products: Float32Array;
  private readonly tables: Uint16Array | Float32Array;
  private blockRow = -1;

  /** Whether tables pay for this layout of scales. */
  static fits(layout: ScaleLayout | undefined): boolean {
    if (layout === undefined) return true;
    const tileElements = Math.min(layout.block[0], layout.rows) * Math.min(layout.block[1], layout.cols);
    return layout.blockCols <= MOST_TABLES && tileElements >= LEAST_TILE_ELEMENTS;
  }

  /** @param isHalf - whether results have 16 bits, else they are float32. */
  constructor(
    spec: FormatSpec,
    layout: ScaleLayout | undefined,
    scales: Float32Array,
    round: Rounder,
    isHalf: boolean,
  ) {
    const tables = (layout?.blockCols ?? 1) * CODES;
    this.layout = layout;
    this.scales = scales;
    this.values = decodeTable(spec);
    this.round = round;
    this.products = new Float32Array(tables);
    this.tables = isHalf ? new Uint16Array(tables) : new Float32Array(tables);
    if (layout === undefined) round(this.values, this.tables);
  }

  /**
   * Looks up `codes`, of which the first is element `first` of the tensor.
   *
   * @param out - elements of the results; its memory begins where the codes' results begin.
   */
  convert(codes: Uint8Array, first: number, out: Uint16Array | Float32Array): void {
    const { layout } = this;
    const words = wordsOf(codes, out);
    if (layout === undefined) {
      this.lookUp(codes, 0, codes.length, 0, out, words);
      return;
    }
    const { cols, block } = layout;
    const [blockRows, blockCols] = block;
    let row = Math.floor(first / cols);
    let col = first - row * cols;
    for (let i = 0; i < codes.length; row++, col = 0) {
      const blockRow = Math.floor(row / blockRows);
      if (blockRow !== this.blockRow) this.prepare(blockRow);
      const rowEnd = Math.min(i + cols - col, codes.length);
      for (let tile = Math.floor(col / blockCols); i < rowEnd; tile++) {
        const end = Math.min(i + (tile + 1) * blockCols - col, rowEnd);
        this.lookUp(codes, i, end, tile * CODES, out, words);
        col += end - i;
        i = end;
      }
    }
  }

  private prepare(blockRow: number): void {
    const { products, values, scales } = this;
    const { blockCols } = this.layout!;
    for (let tile = 0; tile < blockCols; tile++) {
      const scale = scales[blockRow * blockCols + tile]!;
      for (let code = 0; code < CODES; code++) products[tile * CODES + code] = values[code]! * scale;
    }
    this.round(products, this.tables);
    this.blockRow = blockRow;
  }

  private lookUp(
    codes: Uint8Array,
    start: number,
    end: number,
    base: number,
    out: Uint16Array | Float32Array,
    words: Words | undefined,
  ): void {
    const { tables } = this;
    let i = start;
    if (words !== undefined && start % 4 === 0 && tables instanceof Uint16Array) {
      i = lookUpFours(words.codes, words.pairs, start, end, base, tables);
    }
    for (; i < end; i++) out[i] = tables[base + codes[i]!]!;
  }
}

/** Codes and 16-bit results as 32-bit words; made once a chunk, since making a view costs as much as many look-ups. */
interface Words {
  readonly codes: Uint32Array;
  readonly pairs: Uint32Array;
}

function wordsOf(codes: Uint8Array, out: Uint16Array | Float32Array): Words | undefined {
  if (!(out instanceof Uint16Array) || codes.byteOffset % 4 !== 0 || out.byteOffset % 4 !== 0)
    return undefined;
  const count = codes.length >> 2;
  return {
    codes: new Uint32Array(codes.buffer, codes.byteOffset, count),
    pairs: new Uint32Array(out.buffer, out.byteOffset, 2 * count),
  };
}

/** Four codes a step, read and written as words: twice as fast. Returns the first index left over. */
function lookUpFours(
  codes: Uint32Array,
  pairs: Uint32Array,
  start: number,
  end: number,
  base: number,
  tables: Uint16Array,
): number {
  const last = end >> 2;
  for (let i = start >> 2; i < last; i++) {
    const word = codes[i]!;
    pairs[2 * i] = tables[base + (word & 255)]! | (tables[base + ((word >>> 8) & 255)]! << 16);
    pairs[2 * i + 1] = tables[base + ((word >>> 16) & 255)]! | (tables[base + (word >>> 24)]! << 16);
  }
  return Math.max(start, last << 2);
}
