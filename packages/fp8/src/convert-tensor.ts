import type { PlannedTensor } from './conversion-plan.js';
import { TARGET_BLOCK } from './conversion-plan.js';
import { encode } from './encode.js';
import { quantize } from './quantize.js';
import { type Checkpoint, SCALE_SUFFIX } from './safetensors-checkpoint.js';
import { dtypeBits, type SafetensorsDtype } from './safetensors-dtype.js';
import type { SafetensorsLayout } from './safetensors-writer.js';
import { ValueReader } from './value-reader.js';

/** Elements in memory at a time; with source, float32 and result about 16 MiB at most. */
const CHUNK_ELEMENTS = 2 ** 20;
/** Bytes copied at a time. */
const COPY_BYTES = 2 ** 22;
/** Columns of a 128-row block quantised at a time: {@link CHUNK_ELEMENTS} elements, a multiple of 128. */
const PANEL_COLS: number = CHUNK_ELEMENTS / TARGET_BLOCK[0];

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
  const buffer = new Uint8Array(Math.min(bytes, COPY_BYTES));
  for (let done = 0; done < bytes; done += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, bytes - done));
    await checkpoint.readInto(name, piece, done);
    await write(piece, offset + done);
  }
}

async function convert(
  checkpoint: Checkpoint,
  tensor: PlannedTensor,
  offset: number,
  write: PositionedWrite,
): Promise<void> {
  const { name, dtype, scaling } = tensor;
  const info = checkpoint.info(name);
  const elements = (info.bytes * 8) / dtypeBits[info.dtype];
  if (elements === 0) return;
  const reader = await ValueReader.open(checkpoint, name, scaling);
  const chunk = Math.min(elements, CHUNK_ELEMENTS);
  const targetBytes = dtypeBits[dtype] / 8;
  const stored = new Uint8Array(chunk * targetBytes);
  const values = new Float32Array(info.dtype === 'F64' ? 0 : chunk);
  for (let first = 0; first < elements; first += chunk) {
    const count = Math.min(chunk, elements - first);
    if (info.dtype === 'F64') {
      // Doubles round once, not through float32.
      const raw = await reader.readRaw(first, count);
      store(dtype, new Float64Array(raw.buffer, raw.byteOffset, count), stored);
    } else {
      await reader.read(first, values.subarray(0, count));
      store(dtype, values.subarray(0, count), stored);
    }
    await write(stored.subarray(0, count * targetBytes), offset + first * targetBytes);
  }
}

/** Rounds to nearest even into `stored`; beyond the range of the target is infinity, as casts of PyTorch have it. */
function store(dtype: SafetensorsDtype, values: Float32Array | Float64Array, stored: Uint8Array): void {
  if (dtype === 'F32') {
    new Float32Array(stored.buffer, 0, values.length).set(values);
    return;
  }
  const out = new Uint16Array(stored.buffer, 0, values.length);
  encode(dtype === 'F16' ? 'f16' : 'bf16', values, { overflow: 'nonSaturating', out });
}

/** 128 rows at a time, and of very wide matrices a panel of columns at a time: whole blocks, bounded memory. */
async function quantizeBlocks(
  checkpoint: Checkpoint,
  tensor: PlannedTensor,
  offset: number,
  scalesOffset: number,
  write: PositionedWrite,
): Promise<void> {
  const [rows, cols] = tensor.shape as [number, number];
  const [blockRows, blockCols] = TARGET_BLOCK;
  const reader = await ValueReader.open(checkpoint, tensor.name, tensor.scaling);
  const buffer = new Float32Array(Math.min(rows, blockRows) * Math.min(cols, PANEL_COLS));
  const scaleCols = Math.ceil(cols / blockCols);
  for (let row = 0; row < rows; row += blockRows) {
    const height = Math.min(blockRows, rows - row);
    const scales = new Float32Array(scaleCols);
    for (let col = 0; col < cols; col += PANEL_COLS) {
      const width = Math.min(PANEL_COLS, cols - col);
      const values = buffer.subarray(0, height * width);
      const whole = width === cols;
      if (whole) await reader.read(row * cols, values);
      for (let r = 0; !whole && r < height; r++) {
        await reader.read((row + r) * cols + col, values.subarray(r * width, (r + 1) * width));
      }
      // Division order: the order of the published checkpoints' codes.
      const q = quantize(values, [height, width], { kind: 'tile', tile: [blockRows, blockCols] });
      scales.set(q.scales, col / blockCols);
      const codes = q.codes as Uint8Array;
      if (whole) await write(codes, offset + row * cols);
      for (let r = 0; !whole && r < height; r++) {
        await write(codes.subarray(r * width, (r + 1) * width), offset + (row + r) * cols + col);
      }
    }
    const scaleBytes = new Uint8Array(scales.buffer);
    await write(scaleBytes, scalesOffset + (row / blockRows) * scaleBytes.length);
  }
}
