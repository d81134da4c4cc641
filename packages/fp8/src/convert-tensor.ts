import { bf16Kernels } from './bf16-simd.js';
import { chunkConverter } from './chunk-converter.js';
import type { PlannedTensor } from './conversion-plan.js';
import { TARGET_BLOCK } from './conversion-plan.js';
import { PIPELINE_SLOTS, runPieces } from './piece-pipeline.js';
import { quantize } from './quantize.js';
import { type Checkpoint, SCALE_SUFFIX } from './safetensors-checkpoint.js';
import { dtypeBits } from './safetensors-dtype.js';
import type { SafetensorsLayout } from './safetensors-writer.js';
import type { Scheme } from './scheme.js';
import { ValueReader } from './value-reader.js';

/** Elements in memory at a time; with source, float32 and result about 16 MiB at most. */
const CHUNK_ELEMENTS = 2 ** 20;
/** Bytes copied at a time. */
const COPY_BYTES = 2 ** 22;
/** Widest matrix whose blocks are read as whole rows: 2 Mi elements of a row of blocks; a multiple of 128. */
const PANEL_COLS = 2 ** 14;
/** Division order: the order of the published checkpoints' codes. */
const TARGET_SCHEME: Scheme = { kind: 'tile', tile: [TARGET_BLOCK[0], TARGET_BLOCK[1]] };

/** Takes the bytes of a file that is being written; resolves when they may be overwritten by the caller. */
export type PositionedWrite = (bytes: Uint8Array, position: number) => Promise<void>;

/**
 * Writes one planned tensor (and the scales that quantising it gives) piece by piece.
 *
 * @param write - may throw between any two pieces, for example when the caller aborts.
 */
export async function convertTensor(
  checkpoint: Checkpoint,
  tensor: PlannedTensor,
  layout: SafetensorsLayout,
  write: PositionedWrite,
): Promise<void> {
  const { offset } = layout.tensors.get(tensor.name)!;
  switch (tensor.action) {
    case 'copy':
      return await copy(checkpoint, tensor.name, offset, write);
    case 'convert':
      return await convert(checkpoint, tensor, offset, write);
    case 'quantize':
      return await quantizeBlocks(
        checkpoint,
        tensor,
        offset,
        layout.tensors.get(tensor.name + SCALE_SUFFIX)!.offset,
        write,
      );
    case 'scales':
      return;
  }
}

async function copy(
  checkpoint: Checkpoint,
  name: string,
  offset: number,
  write: PositionedWrite,
): Promise<void> {
  const { bytes } = checkpoint.info(name);
  if (bytes === 0) return;
  const size = Math.min(bytes, COPY_BYTES);
  const pieces = Math.ceil(bytes / size);
  const slots = Array.from({ length: Math.min(PIPELINE_SLOTS, pieces) }, () => new Uint8Array(size));
  const part = (piece: number, slot: number): Uint8Array =>
    slots[slot]!.subarray(0, Math.min(size, bytes - piece * size));
  await runPieces(pieces, {
    read: (piece, slot) => checkpoint.readInto(name, part(piece, slot), piece * size),
    convert: () => undefined,
    write: (piece, slot) => write(part(piece, slot), offset + piece * size),
  });
}

/** Reads ahead and writes behind; memory is that of some chunks. */
async function convert(
  checkpoint: Checkpoint,
  tensor: PlannedTensor,
  offset: number,
  write: PositionedWrite,
): Promise<void> {
  const { name, dtype, scaling } = tensor;
  const info = checkpoint.info(name);
  const sourceBits = dtypeBits[info.dtype];
  const elements = (info.bytes * 8) / sourceBits;
  if (elements === 0) return;
  const { scales } = await ValueReader.open(checkpoint, name, scaling);
  const chunk = Math.min(elements, CHUNK_ELEMENTS);
  const targetBytes = dtypeBits[dtype] / 8;
  const slots = Array.from({ length: Math.min(PIPELINE_SLOTS, Math.ceil(elements / chunk)) }, () => ({
    raw: new Uint8Array((chunk * sourceBits) / 8),
    stored: new Uint8Array(chunk * targetBytes),
  }));
  const convertChunk = chunkConverter(info.dtype, dtype, scaling, scales);
  const countOf = (piece: number): number => Math.min(chunk, elements - piece * chunk);
  await runPieces(Math.ceil(elements / chunk), {
    read: async (piece, slot) => {
      const raw = slots[slot]!.raw.subarray(0, (countOf(piece) * sourceBits) / 8);
      await checkpoint.readInto(name, raw, (piece * chunk * sourceBits) / 8);
    },
    convert: (piece, slot) =>
      convertChunk(slots[slot]!.raw, piece * chunk, countOf(piece), slots[slot]!.stored),
    write: async (piece, slot) => {
      const stored = slots[slot]!.stored.subarray(0, countOf(piece) * targetBytes);
      await write(stored, offset + piece * chunk * targetBytes);
    },
  });
}

/** Waits for two writes to end, even when one fails: files are closed afterwards. */
async function both(first: Promise<void>, second: Promise<void>): Promise<void> {
  for (const result of await Promise.allSettled([first, second])) {
    if (result.status === 'rejected') throw result.reason;
  }
}

interface QuantizedStrip {
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
}

/** Whole rows of blocks at a time, and of very wide matrices a panel of their columns at a time. */
async function quantizeBlocks(
  checkpoint: Checkpoint,
  tensor: PlannedTensor,
  offset: number,
  scalesOffset: number,
  write: PositionedWrite,
): Promise<void> {
  const [rows, cols] = tensor.shape as [number, number];
  const reader = await ValueReader.open(checkpoint, tensor.name, tensor.scaling);
  if (cols > PANEL_COLS) return await quantizePanels(reader, [rows, cols], offset, scalesOffset, write);
  const [blockRows, blockCols] = TARGET_BLOCK;
  const stripRows = Math.min(rows, blockRows * Math.max(1, Math.floor(CHUNK_ELEMENTS / blockRows / cols)));
  const pieces = Math.ceil(rows / stripRows);
  const bits = dtypeBits[reader.dtype];
  const slots = Array.from(
    { length: Math.min(PIPELINE_SLOTS, pieces) },
    (): { raw: Uint8Array; result?: QuantizedStrip } => ({
      raw: new Uint8Array((stripRows * cols * bits) / 8),
    }),
  );
  const quantizeStrip = stripQuantizer(reader, stripRows * cols);
  const heightOf = (piece: number): number => Math.min(stripRows, rows - piece * stripRows);
  const rawOf = (piece: number, slot: number): Uint8Array =>
    slots[slot]!.raw.subarray(0, (heightOf(piece) * cols * bits) / 8);
  const scaleRowBytes = Math.ceil(cols / blockCols) * 4;
  await runPieces(pieces, {
    read: (piece, slot) =>
      checkpoint.readInto(tensor.name, rawOf(piece, slot), (piece * stripRows * cols * bits) / 8),
    convert: (piece, slot) => {
      const first = piece * stripRows * cols;
      slots[slot]!.result = quantizeStrip(rawOf(piece, slot), first, [heightOf(piece), cols], slot);
    },
    write: async (piece, slot) => {
      const row = piece * stripRows;
      const { codes, scales } = slots[slot]!.result!;
      const scaleBytes = new Uint8Array(scales.buffer, scales.byteOffset, scales.byteLength);
      await both(
        write(codes, offset + row * cols),
        write(scaleBytes, scalesOffset + (row / blockRows) * scaleRowBytes),
      );
    },
  });
}

type StripQuantizer = (
  raw: Uint8Array,
  first: number,
  shape: [rows: number, cols: number],
  slot: number,
) => QuantizedStrip;

/** BF16 weights, the usual source, straight from their bits where kernels can; others through float32. */
function stripQuantizer(reader: ValueReader, elements: number): StripQuantizer {
  const kernels = reader.dtype === 'BF16' && reader.layout === undefined ? bf16Kernels() : undefined;
  if (kernels !== undefined) {
    const buffers: Uint8Array[] = [];
    return (raw, _first, [rows, cols], slot) => {
      const values = new Uint16Array(raw.buffer, raw.byteOffset, rows * cols);
      const blocks = Math.ceil(rows / TARGET_BLOCK[0]) * Math.ceil(cols / TARGET_BLOCK[1]);
      const scales = new Float32Array(blocks);
      buffers[slot] ??= new Uint8Array(elements);
      const codes = buffers[slot].subarray(0, rows * cols);
      kernels.quantizeTiles('e4m3fn', values, [rows, cols], TARGET_BLOCK, codes, scales);
      return { codes, scales };
    };
  }
  const buffer = new Float32Array(elements);
  return (raw, first, [rows, cols]) => {
    const values = buffer.subarray(0, rows * cols);
    reader.decode(raw, first, values);
    const { codes, scales } = quantize(values, [rows, cols], TARGET_SCHEME);
    return { codes: codes as Uint8Array, scales };
  };
}

async function quantizePanels(
  reader: ValueReader,
  [rows, cols]: readonly [number, number],
  offset: number,
  scalesOffset: number,
  write: PositionedWrite,
): Promise<void> {
  const [blockRows, blockCols] = TARGET_BLOCK;
  const buffer = new Float32Array(Math.min(rows, blockRows) * PANEL_COLS);
  const scales = new Float32Array(Math.ceil(cols / blockCols));
  for (let row = 0; row < rows; row += blockRows) {
    const height = Math.min(blockRows, rows - row);
    for (let col = 0; col < cols; col += PANEL_COLS) {
      const width = Math.min(PANEL_COLS, cols - col);
      const values = buffer.subarray(0, height * width);
      for (let r = 0; r < height; r++) {
        await reader.read((row + r) * cols + col, values.subarray(r * width, (r + 1) * width));
      }
      const q = quantize(values, [height, width], TARGET_SCHEME);
      scales.set(q.scales, col / blockCols);
      const codes = q.codes as Uint8Array;
      for (let r = 0; r < height; r++) {
        await write(codes.subarray(r * width, (r + 1) * width), offset + (row + r) * cols + col);
      }
    }
    await write(new Uint8Array(scales.buffer), scalesOffset + (row / blockRows) * scales.byteLength);
  }
}
