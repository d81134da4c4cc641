import type { Fp8ElementFormat, QuantizeTilesOptions } from '../fp8-kernels.js';
import type { ProductOperand, SegmentProductOptions } from '../fp8-product.js';
import { ceilPowerOfTwo } from './formats.js';

const f = Math.fround;

/** Nearest-even, saturating codes, NaN quiet with its sign, by rounding to units of the last kept bit. */
export function encodeFp8(format: Fp8ElementFormat, values: Float32Array, codes: Uint8Array): void {
  const e4m3 = format === 'e4m3fn';
  const [mantissa, bias, top, nan] = e4m3 ? [3, 7, 0x7e, 0x7f] : [2, 15, 0x7b, 0x7e];
  const words = new Uint32Array(values.slice().buffer);
  for (let i = 0; i < values.length; i++) {
    const sign = (words[i]! >>> 24) & 0x80;
    const magnitude = Math.abs(values[i]!);
    if (Number.isNaN(magnitude)) {
      codes[i] = nan | sign;
      continue;
    }
    const exponent = Math.max(((words[i]! >>> 23) & 0xff) - 127, 1 - bias);
    const units = magnitude * 2 ** (mantissa - exponent);
    const floor = Math.floor(units);
    const rest = units - floor;
    const rounded = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
    const code = (exponent + bias - 1) * 2 ** mantissa + rounded;
    codes[i] = Math.min(code, top) | sign;
  }
}

/** Values of codes. */
export function decodeFp8(format: Fp8ElementFormat, codes: Uint8Array, out: Float32Array): void {
  const e4m3 = format === 'e4m3fn';
  const [mantissa, bias] = e4m3 ? [3, 7] : [2, 15];
  for (let i = 0; i < codes.length; i++) {
    const magnitude = codes[i]! & 0x7f;
    const sign = codes[i]! > 0x7f ? -1 : 1;
    if (e4m3 ? magnitude === 0x7f : magnitude > 0x7c) out[i] = Number.NaN;
    else if (!e4m3 && magnitude === 0x7c) out[i] = sign * Infinity;
    else {
      const field = magnitude >> mantissa;
      const fraction = (magnitude % 2 ** mantissa) / 2 ** mantissa;
      out[i] = sign * (field === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (field - bias));
    }
  }
}

/** Quantisation by tiles; see {@link Fp8Kernels.quantizeTiles}. */
export function quantizeTiles(
  format: Fp8ElementFormat,
  values: Float32Array,
  [rows, cols]: readonly [number, number],
  options: QuantizeTilesOptions,
  codes: Uint8Array,
  scales: Float32Array,
): void {
  const { tileRows, tileCols, amaxFloor = 0, rule = 'amax', reciprocal = false } = options;
  const top = format === 'e4m3fn' ? 448 : 57344;
  const blockCols = Math.ceil(cols / tileCols);
  const amax = new Float32Array(Math.ceil(rows / tileRows) * blockCols);
  const tileOf = (i: number): number =>
    Math.floor(Math.floor(i / cols) / tileRows) * blockCols + Math.floor((i % cols) / tileCols);
  for (let i = 0; i < rows * cols; i++) {
    const magnitude = Math.abs(values[i]!);
    if (magnitude < Infinity && magnitude > amax[tileOf(i)]!) amax[tileOf(i)] = magnitude;
  }
  for (let t = 0; t < amax.length; t++) {
    const a = Math.max(amax[t]!, f(amaxFloor));
    if (rule === 'mxFloor' || rule === 'mxCeil') {
      const x = rule === 'mxCeil' ? f(a / top) : a;
      let exponent = x === 0 ? -127 : floorLog2(x);
      if (rule === 'mxFloor') exponent -= x === 0 ? 0 : floorLog2(top);
      else if (x > 2 ** exponent) exponent++;
      scales[t] = 2 ** Math.min(Math.max(exponent, -127), 127);
      continue;
    }
    const scale = a === 0 ? 1 : Math.max(f(a / top), 2 ** -126);
    scales[t] = rule === 'powerOfTwo' ? ceilPowerOfTwo(scale) : scale;
  }
  const scaled = new Float32Array(rows * cols);
  for (let i = 0; i < scaled.length; i++) {
    const scale = scales[tileOf(i)]!;
    scaled[i] = reciprocal ? values[i]! * f(1 / scale) : values[i]! / scale;
  }
  encodeFp8(format, scaled, codes);
}

/** Exponent of the largest power of two that is at most x > 0. */
function floorLog2(x: number): number {
  const near = Math.round(Math.log2(x));
  return 2 ** near > x ? near - 1 : near;
}

/** x * y + z rounded once to float32: to odd in double, then to float32 (Boldo and Melquiond, 2008). */
function fma(x: number, y: number, z: number): number {
  const product = x * y;
  const sum = product + z;
  const virtual = sum - product;
  const lost = product - (sum - virtual) + (z - virtual);
  if (lost === 0 || Number.isNaN(lost)) return f(sum);
  const bits = new BigInt64Array(Float64Array.of(sum).buffer);
  if ((bits[0]! & 1n) === 0n) bits[0] = bits[0]! + (lost > 0 === sum > 0 ? 1n : -1n);
  return f(new Float64Array(bits.buffer)[0]!);
}

/**
 * Block-scaled product by segments.
 *
 * Order: within a segment, products are added one after the other in float32 (each product is exact or rounded once),
 * or `fused` at a time: every term and the running sum truncated toward zero to a multiple of 2^(E - 13) (`wide`: 25), E
 * being their largest exponent (operands' exponents added, not normalised; a zero counts as -126), added exactly, and the
 * sum truncated to 13 (`wide`: 23) fraction bits. Segments join the result one after the other by fused multiply-add.
 */
export function segmentProduct(
  a: ProductOperand,
  b: ProductOperand,
  out: Float32Array,
  [m, n, k]: readonly [number, number, number],
  { starts, promotion = 'deepgemm', fused = 0, wide = false }: SegmentProductOptions,
): void {
  const step = wide ? 32 : fused;
  const bits = wide ? 25 : 13;
  const at = (rows: number, { transposed }: ProductOperand, row: number, p: number): number =>
    transposed ? p * rows + row : row * k + p;
  const elementOf = (rows: number, operand: ProductOperand, row: number, p: number): number => {
    const raw = operand.data[at(rows, operand, row, p)]!;
    return operand.data instanceof Float32Array ? raw : operand.table![raw]!;
  };
  const scaleOf = (rows: number, operand: ProductOperand, row: number, p: number): number => {
    const { scales, tileRows = rows, tileK = k, transposed } = operand;
    if (scales === undefined) return 1;
    const [x, y] = [Math.floor(row / tileRows), Math.floor(p / tileK)];
    return scales[transposed ? y * Math.ceil(rows / tileRows) + x : x * Math.ceil(k / tileK) + y]!;
  };
  const exponentOf = (x: number): number => (x === 0 ? -126 : Math.max(floorLog2(Math.abs(x)), -126));
  const zeroAt126 = (exponent: number): number => (exponent === -110 ? -126 : exponent);
  const truncate = (x: number, bits: number, exponent: number): number =>
    Math.trunc(x * 2 ** (bits - exponent)) * 2 ** (exponent - bits);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let total = promotion === 'chain' ? out[i * n + j]! : 0;
      for (let s = 0; s + 1 < starts.length; s++) {
        const [from, to] = [starts[s]!, starts[s + 1]!];
        let sum = promotion === 'chain' ? total : 0;
        if (step === 0) {
          for (let p = from; p < to; p++) sum = f(sum + f(elementOf(m, a, i, p) * elementOf(n, b, j, p)));
        } else {
          // Once infinite, a sum stays so.
          for (let start = from; start < to && Number.isFinite(sum); start += step) {
            const terms = [sum];
            let top = exponentOf(sum);
            for (let p = start; p < Math.min(start + step, to); p++) {
              const block = p >> 5;
              const shift =
                (a.blockExponents?.[i * Math.ceil(k / 32) + block] ?? 0) +
                (b.blockExponents?.[j * Math.ceil(k / 32) + block] ?? 0);
              terms.push(elementOf(m, a, i, p) * elementOf(n, b, j, p) * 2 ** shift);
              const exponent =
                zeroAt126(a.exponents![a.data[at(m, a, i, p)]!]!) +
                zeroAt126(b.exponents![b.data[at(n, b, j, p)]!]!);
              top = Math.max(top, exponent + shift);
            }
            const exact = terms.reduce((t, term) => t + truncate(term, bits, top), 0);
            sum = exact === 0 ? 0 : f(truncate(exact, wide ? 23 : 13, exponentOf(exact)));
          }
        }
        const [x, y] = [scaleOf(m, a, i, from), scaleOf(n, b, j, from)];
        if (promotion === 'chain') total = sum;
        else total = promotion === 'kernelpy' ? fma(f(sum * x), y, total) : fma(f(x * y), sum, total);
      }
      out[i * n + j] = total;
    }
  }
}
