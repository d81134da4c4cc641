import { type Fp8ElementFormat, MAXIMUM_TILED_COLUMNS } from '@moestack/kernels';
import { checkCodesRange, decodeTable } from './decode.js';
import { encode } from './encode.js';
import { allocateCodes, checkCodesWidth, formats } from './format-spec.js';
import { amaxFloorOf, scaleCodesOf, scalesOf, tileAmax } from './quantize-scales.js';
import {
  invalid,
  type QuantizedTensor,
  quantizedLayout,
  type Scheme,
  type SchemeLayout,
  schemeLayout,
} from './scheme.js';
import { simdKernels } from './simd.js';
import { transpose } from './transpose.js';

/** Arrays that receive codes and scales. */
type Output = Pick<QuantizedTensor, 'codes' | 'scales'>;

/** Options of {@link quantize}. */
export interface QuantizeOptions {
  /** Receives codes and scales, for example those of an earlier result of the same shape. */
  readonly out?: Pick<QuantizedTensor, 'codes' | 'scales'>;
}

/**
 * Quantises a row-major matrix by a {@link Scheme}: nearest even, saturating.
 *
 * Scales follow the finite elements of their tile; infinities saturate and NaN stays NaN in formats that have it. A
 * tile without finite non-zero elements and without amax floor gets scale 1. Scales are at least 2^-126.
 *
 * @param values - float32 `[rows, cols]`.
 * @throws {@link Fp8Error} for a shape, scheme or output that does not fit.
 *
 * @example
 * ```ts
 * import { dequantize, quantize } from '@moestack/fp8';
 *
 * const activations = Float32Array.from({ length: 2 * 256 }, (_, i) => Math.sin(i));
 * const q = quantize(activations, [2, 256], { kind: 'tile', tile: [1, 128], scale: 'powerOfTwo' });
 * console.log(q.scales.length, dequantize(q)[1]); // 4 scales
 * ```
 */
export function quantize(
  values: Float32Array,
  shape: [number, number],
  scheme: Scheme,
  options: QuantizeOptions = {},
): QuantizedTensor {
  const layout = schemeLayout(shape, scheme);
  if (!(values instanceof Float32Array) || values.length !== layout.rows * layout.cols) {
    const expected = `${layout.rows * layout.cols} float32 values for shape [${shape.join(', ')}]`;
    throw invalid('bad-shape', expected, values?.length, 'pass the values of the whole matrix');
  }
  const { out = emptyOutput(layout) } = options;
  checkOutput(out, layout);
  return simdQuantize(values, scheme, layout, out) ?? scalarQuantize(values, scheme, layout, out);
}

function emptyOutput({ spec, rows, cols, blockRows, blockCols }: SchemeLayout): Output {
  return { codes: allocateCodes(spec, rows * cols), scales: new Float32Array(blockRows * blockCols) };
}

function checkOutput({ codes, scales }: Output, layout: SchemeLayout): void {
  checkCodesWidth(layout.spec, codes, 'out.codes');
  const expected = [layout.rows * layout.cols, layout.blockRows * layout.blockCols] as const;
  if (codes.length === expected[0] && scales instanceof Float32Array && scales.length === expected[1]) return;
  const message = `out of ${expected[0]} codes and ${expected[1]} float32 scales`;
  throw invalid('bad-out', message, [codes.length, scales?.length], 'pass one scale per tile');
}

/** {@link quantize} for every scheme, once it is checked. */
export function scalarQuantize(
  values: Float32Array,
  scheme: Scheme,
  layout: SchemeLayout,
  { codes, scales }: Output = emptyOutput(layout),
): QuantizedTensor {
  const amax = tileAmax(values, layout);
  const shape: [number, number] = [layout.rows, layout.cols];
  const made = scalesOf(amax, layout, scheme);
  scales.set(made.scales);
  const result: QuantizedTensor = { shape, scheme, codes, ...made, scales };
  encodeTiles(values, result, layout, multiplies(scheme));
  return result;
}

/** Below this many values staging costs more than it saves. */
const SIMD_LEAST_LENGTH = 256;

/** The same by SIMD kernels, for E4M3 and E5M2 but not NVFP4; undefined where they do not apply. */
function simdQuantize(
  values: Float32Array,
  scheme: Scheme,
  layout: SchemeLayout,
  { codes, scales }: Output,
): QuantizedTensor | undefined {
  const { spec, rows, cols, tileRows, tileCols } = layout;
  if (scheme.kind === 'nvfp4') return undefined;
  if (spec !== formats.e4m3fn && spec !== formats.e5m2) return undefined;
  if (values.length < SIMD_LEAST_LENGTH || cols > MAXIMUM_TILED_COLUMNS) return undefined;
  const kernels = simdKernels();
  if (kernels === undefined) return undefined;
  const options = {
    tileRows,
    tileCols,
    amaxFloor: amaxFloorOf(scheme, layout),
    rule: ruleOf(scheme),
    reciprocal: multiplies(scheme),
  };
  kernels.quantizeTiles(
    spec.name as Fp8ElementFormat,
    values,
    [rows, cols],
    options,
    codes as Uint8Array,
    scales,
  );
  return { shape: [rows, cols], scheme, codes, scales, ...scaleCodesOf(scales, scheme) };
}

function ruleOf(scheme: Exclude<Scheme, { kind: 'nvfp4' }>): 'amax' | 'powerOfTwo' | 'mxFloor' | 'mxCeil' {
  if (scheme.kind === 'mx') return scheme.rule === 'floor' ? 'mxFloor' : 'mxCeil';
  return scheme.scale === undefined || scheme.scale === 'f32' ? 'amax' : 'powerOfTwo';
}

/** Whether elements are multiplied by the reciprocal of their scale; exact for MX, whose scales are powers of two. */
function multiplies(scheme: Scheme): boolean {
  return scheme.kind === 'mx' || (scheme.kind === 'tile' && scheme.order === 'reciprocal');
}

/**
 * Values of a quantised matrix: decode(code) * scale, each product rounded to float32.
 *
 * @returns float32 `[rows, cols]`, `options.out` when given.
 * @throws {@link Fp8Error} when codes, scales and shape do not fit together.
 */
export function dequantize(q: QuantizedTensor, options: { out?: Float32Array } = {}): Float32Array {
  const layout = quantizedLayout(q, 'the tensor');
  checkCodesRange(layout.spec, q.codes);
  const out = options.out ?? new Float32Array(q.codes.length);
  if (out.length !== q.codes.length) {
    throw invalid('bad-out', `out of length ${q.codes.length}`, out.length, 'pass one value per code');
  }
  const { rows, cols, tileRows, tileCols, blockCols } = layout;
  const { codes, scales } = q;
  const table = decodeTable(layout.spec);
  for (let row = 0; row < rows; row++) {
    const scaleRow = Math.floor(row / tileRows) * blockCols;
    for (let first = 0, tile = 0; first < cols; first += tileCols, tile++) {
      const scale = scales[scaleRow + tile]!;
      const end = row * cols + Math.min(first + tileCols, cols);
      for (let i = row * cols + first; i < end; i++) out[i] = table[codes[i]!]! * scale;
    }
  }
  return out;
}

/**
 * Quantises a quantised matrix again by another scheme, through float32: DeepSeek-V3 turns the activations kept for
 * backward from 1x128 into 128x1 tiles so. Not lossless in general, even with power-of-two scales.
 */
export function requantize(q: QuantizedTensor, scheme: Scheme): QuantizedTensor {
  return quantize(dequantize(q), q.shape, scheme);
}

/**
 * The transpose of a matrix quantised by `tensor`, `row` or `tile`: the same codes and scales, tiles turned. What Dgrad
 * and Wgrad multiply with, written out.
 */
export function transposeQuantized(q: QuantizedTensor): QuantizedTensor {
  const { spec, rows, cols, tileRows, tileCols, blockRows, blockCols } = quantizedLayout(q, 'the tensor');
  const { scheme } = q;
  if (scheme.kind === 'mx' || scheme.kind === 'nvfp4') {
    const remedy = 'quantise the transposed values: their scales run along rows';
    throw invalid('bad-scheme', 'a tensor, row or tile scheme', scheme.kind, remedy);
  }
  const { format = 'e4m3fn', scale = 'f32' } = scheme;
  const turned: Scheme =
    scheme.kind === 'tensor'
      ? scheme
      : {
          ...(scheme.kind === 'tile' ? scheme : { format, scale }),
          kind: 'tile',
          tile: [tileCols, tileRows],
          amaxFloor: amaxFloorOf(scheme, { tileRows }),
        };
  return {
    shape: [cols, rows],
    scheme: turned,
    codes: transpose(q.codes, rows, cols, allocateCodes(spec, q.codes.length)),
    scales: transpose(q.scales, blockRows, blockCols, new Float32Array(q.scales.length)),
    ...(q.scaleCodes === undefined
      ? {}
      : { scaleCodes: transpose(q.scaleCodes, blockRows, blockCols, new Uint8Array(q.scaleCodes.length)) }),
  };
}

/** Elements scaled at a time: enough to amortise a call of the encoder, few enough to stay in cache. */
const CHUNK_ELEMENTS = 4096;

/** Scales some rows at a time into a float32 buffer and encodes it there. */
function encodeTiles(
  values: Float32Array,
  result: QuantizedTensor,
  layout: SchemeLayout,
  reciprocal: boolean,
): void {
  const { spec, rows, cols } = layout;
  if (cols === 0) return;
  const chunkRows = Math.max(1, Math.floor(CHUNK_ELEMENTS / cols));
  const buffer = new Float32Array(Math.min(chunkRows, rows) * cols);
  for (let row = 0; row < rows; row += chunkRows) {
    const end = Math.min(row + chunkRows, rows);
    const scaled = buffer.subarray(0, (end - row) * cols);
    for (let r = row; r < end; r++) {
      scaleRow(values, result.scales, layout, r, reciprocal, scaled, (r - row) * cols);
    }
    encode(spec, scaled, { out: result.codes.subarray(row * cols, end * cols) });
  }
}

/** Divides one row by its tiles' scales, or multiplies by their float32 reciprocals. */
function scaleRow(
  values: Float32Array,
  scales: Float32Array,
  layout: SchemeLayout,
  row: number,
  reciprocal: boolean,
  out: Float32Array,
  offset: number,
): void {
  const { cols, tileRows, tileCols, blockCols } = layout;
  const start = row * cols;
  const firstScale = Math.floor(row / tileRows) * blockCols;
  for (let first = 0, tile = 0; first < cols; first += tileCols, tile++) {
    const scale = scales[firstScale + tile]!;
    const end = Math.min(first + tileCols, cols);
    // An NVFP4 block far below the tensor's amax has scale 0: every code is a zero.
    const factor = scale === 0 ? 0 : Math.fround(1 / scale);
    if (reciprocal || scale === 0) {
      for (let c = first; c < end; c++) out[offset + c] = values[start + c]! * factor;
    } else {
      for (let c = first; c < end; c++) out[offset + c] = values[start + c]! / scale;
    }
  }
}
