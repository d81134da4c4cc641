import { decodeTable } from './decode.js';
import { encode } from './encode.js';
import { ceilLog2, ceilPowerOfTwo, floorLog2, powerOfTwo } from './exponent.js';
import type { QuantizedTensor, ScaleFormat, Scheme, SchemeLayout } from './scheme.js';

/** Smallest scale: below, 1 / scale would leave float32 and scales themselves would lose bits. */
const MIN_SCALE = 2 ** -126;
/** amax floor of one-row tiles, as in DeepSeek's and DeepGEMM's activation kernels. */
const ACTIVATION_AMAX_FLOOR: number = Math.fround(1e-4);

/** Least amax of a scheme's tiles. */
export function amaxFloorOf(scheme: Scheme, layout: { readonly tileRows: number }): number {
  if (scheme.kind !== 'tile') return 0;
  return Math.fround(scheme.amaxFloor ?? (layout.tileRows === 1 ? ACTIVATION_AMAX_FLOOR : 0));
}

/** Largest finite magnitude of each tile, `[blockRows, blockCols]`. */
export function tileAmax(values: Float32Array, layout: SchemeLayout): Float32Array {
  const { rows, cols, tileRows, tileCols, blockRows, blockCols } = layout;
  const amax = new Float32Array(blockRows * blockCols);
  for (let row = 0; row < rows; row++) {
    const scaleRow = Math.floor(row / tileRows) * blockCols;
    for (let first = 0, tile = 0; first < cols; first += tileCols, tile++) {
      const end = row * cols + Math.min(first + tileCols, cols);
      let max = amax[scaleRow + tile]!;
      for (let i = row * cols + first; i < end; i++) {
        const magnitude = Math.abs(values[i]!);
        if (magnitude > max && magnitude !== Number.POSITIVE_INFINITY) max = magnitude;
      }
      amax[scaleRow + tile] = max;
    }
  }
  return amax;
}

/** Scales of tiles with the given amax, and their codes where the scheme states them. */
export function scalesOf(
  amax: Float32Array,
  layout: SchemeLayout,
  scheme: Scheme,
): Pick<QuantizedTensor, 'scales' | 'scaleCodes' | 'globalScale'> {
  if (scheme.kind === 'mx') return mxScales(amax, layout, scheme.rule);
  if (scheme.kind === 'nvfp4') return nvfp4Scales(amax, layout);
  const floor = amaxFloorOf(scheme, layout);
  const scales = amax.map((max) => tileScale(Math.max(max, floor), layout.spec.max, scheme.scale));
  return { scales, ...scaleCodesOf(scales, scheme) };
}

function tileScale(amax: number, max: number, format: ScaleFormat = 'f32'): number {
  if (amax === 0) return 1;
  const scale = Math.max(Math.fround(amax / max), MIN_SCALE);
  return format === 'f32' ? scale : ceilPowerOfTwo(scale);
}

/** OCP MX v1.0 section 6.3 (floor); the ceil rule divides by the element maximum in float32 first. */
function mxScales(
  amax: Float32Array,
  layout: SchemeLayout,
  rule: 'floor' | 'ceil',
): { scales: Float32Array; scaleCodes: Uint8Array } {
  const { max } = layout.spec;
  const elementExponent = floorLog2(max);
  const scaleCodes = Uint8Array.from(amax, (tileMax) => {
    if (tileMax === 0) return 0;
    const ratio = Math.fround(tileMax / max);
    const exponent =
      rule === 'floor' ? floorLog2(tileMax) - elementExponent : ratio === 0 ? -127 : ceilLog2(ratio);
    return Math.min(Math.max(exponent, -127), 127) + 127;
  });
  return { scales: Float32Array.from(scaleCodes, (code) => powerOfTwo(code - 127)), scaleCodes };
}

/** Two-level NVFP4 scales: tensor amax over 448 * 6 in float32, then E4M3 per 16 elements. */
function nvfp4Scales(
  amax: Float32Array,
  layout: SchemeLayout,
): { scales: Float32Array; scaleCodes: Uint8Array; globalScale: number } {
  const tensorMax = amax.reduce((max, value) => Math.max(max, value), 0);
  const globalScale = tileScale(tensorMax, 448 * layout.spec.max);
  const relative = amax.map((max) => Math.fround(max / layout.spec.max) / globalScale);
  const scaleCodes = encode('e4m3fn', relative) as Uint8Array;
  const table = decodeTable('e4m3fn');
  return {
    scales: Float32Array.from(scaleCodes, (code) => table[code]! * globalScale),
    scaleCodes,
    globalScale,
  };
}

/** E8M0 codes of power-of-two scales, for the schemes that state them. */
export function scaleCodesOf(scales: Float32Array, scheme: Scheme): { scaleCodes?: Uint8Array } {
  if (scheme.kind !== 'mx' && !('scale' in scheme && scheme.scale === 'e8m0fnu')) return {};
  const words = new Uint32Array(scales.buffer, scales.byteOffset, scales.length);
  const scaleCodes = new Uint8Array(scales.length);
  // The exponent field; 2^-127, a subnormal, has field and code 0.
  for (let i = 0; i < words.length; i++) scaleCodes[i] = words[i]! >>> 23;
  return { scaleCodes };
}
