import type { Arena } from './arena.js';
import type { KernelExports } from './binary.js';
import { needCount } from './checks.js';
import { KernelsError } from './errors.js';
import type { Staging } from './staging.js';
import type { PackOptions, WeightData } from './types.js';
import { elementBytes, formatCodes, PackedWeight } from './weight.js';

/** Bytes of source rows that are staged at a time; at least one group of 32 rows. */
const STAGED_BYTES = 1 << 18;
/** How far beyond its end the packing of a last panel may write. */
const OVERRUN_BYTES = 512;

const dataTypes = { f32: Float32Array, bf16: Uint16Array, e4m3fn: Uint8Array } as const;

function check(weight: WeightData): void {
  const { format, rows, cols, data, scales } = weight;
  const type = dataTypes[format];
  if (type === undefined) {
    throw new KernelsError({
      code: 'kernels/bad-format',
      message: `expected a weight format of f32, bf16 or e4m3fn, got ${String(format)}`,
      value: format,
      remedy: 'convert the weight to one of these formats',
    });
  }
  needCount('rows', rows, 1);
  needCount('cols', cols, 1);
  if (!(data instanceof type) || data.length !== rows * cols) {
    throw new KernelsError({
      code: 'kernels/bad-weight',
      message: `expected ${rows * cols} elements in a ${type.name} for ${format} [${rows}, ${cols}], got ${data.length} in a ${data.constructor.name}`,
      value: data.length,
      remedy: 'pass the matrix row-major, without padding',
    });
  }
  if (scales === undefined) return;
  const expected = Math.ceil(rows / 128) * Math.ceil(cols / 128);
  if (format !== 'e4m3fn' || scales.length !== expected) {
    throw new KernelsError({
      code: 'kernels/bad-scales',
      message: `expected ${format === 'e4m3fn' ? expected : 'no'} scales for ${format} [${rows}, ${cols}], got ${scales.length}`,
      value: scales.length,
      remedy:
        'pass one scale for each block of 128 x 128, [ceil(rows / 128), ceil(cols / 128)], with e4m3fn weights only',
    });
  }
}

/** Copies a weight into the arena in the layout asked for. */
export function pack(
  weight: WeightData,
  options: PackOptions,
  arena: Arena,
  staging: Staging,
  wasm: KernelExports,
): PackedWeight {
  check(weight);
  const { format, rows, cols } = weight;
  const layout = options.layout ?? 'panels';
  const size = elementBytes[format];
  // E4M3 columns are decoded in pairs.
  const rowBytes = format === 'e4m3fn' ? cols + (cols & 1) : cols * size;
  const panels = Math.ceil(rows / 8);
  const bytes = layout === 'panels' ? panels * rowBytes * 8 : rows * rowBytes;
  const source = new Uint8Array(weight.data.buffer, weight.data.byteOffset, weight.data.byteLength);
  const mark = arena.mark();
  let nanCells: number[] = [];
  let target: Uint8Array;
  let scales: Float32Array | undefined;
  try {
    scales = weight.scales === undefined ? undefined : arena.f32(weight.scales.length);
    if (weight.scales !== undefined) scales?.set(weight.scales);
    target = arena.u8(bytes);
    const chunkRows = Math.max(32, Math.floor(STAGED_BYTES / rowBytes / 32) * 32);
    staging.begin();
    staging.reserve(OVERRUN_BYTES);
    const stagedBytes = Math.min(chunkRows, rows) * rowBytes;
    const stage = staging.reserve(stagedBytes + OVERRUN_BYTES);
    const staged = new Uint8Array(arena.memory.buffer, stage, stagedBytes + OVERRUN_BYTES);
    for (let row = 0; row < rows; row += chunkRows) {
      const count = Math.min(chunkRows, rows - row);
      copyRows(source, row, count, cols * size, staged, rowBytes);
      if (format === 'e4m3fn' && wasm.anyE4m3Nan(stage, count * rowBytes) !== 0) {
        nanCells = nanCells.concat(findNan(weight.data, row, count, cols));
      }
      if (layout === 'rows') {
        target.set(staged.subarray(0, count * rowBytes), row * rowBytes);
      } else {
        const to = target.byteOffset + row * rowBytes;
        wasm.packPanels(formatCodes[format], stage, rowBytes, count, cols, to, rowBytes * 8);
      }
    }
  } catch (error) {
    arena.release(mark);
    throw error;
  }
  return new PackedWeight({
    format,
    rows,
    cols,
    layout,
    sizeBytes: bytes + (scales?.byteLength ?? 0),
    buffer: arena.memory.buffer,
    address: target.byteOffset,
    strideBytes: layout === 'panels' ? rowBytes * 8 : rowBytes,
    scales: scales?.byteOffset ?? 0,
    scaleStrideBytes: Math.ceil(cols / 128) * 4,
    nanCells: nanCells.length === 0 ? undefined : Int32Array.from(nanCells),
  });
}

/** Copies rows, padded to `toBytes`, with zeros behind the last. */
function copyRows(
  source: Uint8Array,
  row: number,
  count: number,
  fromBytes: number,
  staged: Uint8Array,
  toBytes: number,
): void {
  if (fromBytes === toBytes) {
    staged.set(source.subarray(row * fromBytes, (row + count) * fromBytes));
  } else {
    for (let i = 0; i < count; i++) {
      staged.set(source.subarray((row + i) * fromBytes, (row + i + 1) * fromBytes), i * toBytes);
      staged.fill(0, i * toBytes + fromBytes, (i + 1) * toBytes);
    }
  }
  staged.fill(0, count * toBytes, count * toBytes + 32);
}

function findNan(codes: WeightData['data'], row: number, count: number, cols: number): number[] {
  const cells: number[] = [];
  for (let i = row * cols; i < (row + count) * cols; i++) {
    if ((codes[i]! & 0x7f) === 0x7f) cells.push(Math.floor(i / cols), i % cols);
  }
  return cells;
}
