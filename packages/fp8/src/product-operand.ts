import type { ProductOperand } from '@moestack/kernels';
import { decode, decodeTable } from './decode.js';
import { type Codes, type FormatName, type FormatSpec, formats } from './format-spec.js';
import { type QuantizedTensor, quantizedLayout } from './scheme.js';
import { operandExponents } from './tensor-core.js';
import { transpose } from './transpose.js';

/** A factor of a product: `[rows, k]` elements, stored row-major so, or (`transposed`) as `[k, rows]`. */
export interface MatrixOperand {
  readonly rows: number;
  readonly k: number;
  readonly transposed: boolean;
  readonly data: Codes | Float32Array;
  /** Format of the codes; undefined for float32 values. */
  readonly spec: FormatSpec | undefined;
  /** Row-major in the orientation of `data`; undefined: all 1. */
  readonly scales: Float32Array | undefined;
  /** Rows and elements of k under one scale. */
  readonly tileRows: number;
  readonly tileK: number;
  /** E8M0 or E4M3 codes of the scales, where they have them. */
  readonly scaleCodes: Uint8Array | undefined;
  /** 1x32 tiles with E8M0 scales along k, as the MX instructions take them. */
  readonly isMx: boolean;
}

/** A quantised matrix `[rows, k]`, or its transpose, as a factor. */
export function quantizedOperand(q: QuantizedTensor, what: string, transposed = false): MatrixOperand {
  const { spec, rows, cols, tileRows, tileCols } = quantizedLayout(q, what);
  return {
    ...(transposed ? { rows: cols, k: rows } : { rows, k: cols }),
    ...(transposed ? { tileRows: tileCols, tileK: tileRows } : { tileRows, tileK: tileCols }),
    transposed,
    data: q.codes,
    spec,
    scales: q.scales,
    scaleCodes: q.scaleCodes,
    isMx: q.scheme.kind === 'mx' && !transposed,
  };
}

/** Float32 values as a factor. */
export function floatOperand(
  values: Float32Array,
  [rows, cols]: readonly [number, number],
  transposed = false,
): MatrixOperand {
  const [m, k] = transposed ? [cols, rows] : [rows, cols];
  return {
    rows: m,
    k,
    transposed,
    data: values,
    spec: undefined,
    scales: undefined,
    tileRows: Math.max(m, 1),
    tileK: Math.max(k, 1),
    scaleCodes: undefined,
    isMx: false,
  };
}

/** Byte codes `[rows, k]` as a factor, without scales or with the codes of MX scales. */
export function codesOperand(
  format: FormatName,
  codes: Uint8Array,
  [rows, k]: readonly [number, number],
  scaleCodes: Uint8Array | undefined,
): MatrixOperand {
  const operand = floatOperand(new Float32Array(0), [rows, k]);
  return { ...operand, data: codes, spec: formats[format], scaleCodes, isMx: scaleCodes !== undefined };
}

/** Elements without their scales, `[rows, k]`. */
export function operandValues(operand: MatrixOperand): Float32Array {
  const { data, spec, transposed } = operand;
  const values = spec === undefined ? (data as Float32Array) : decode(spec, data as Codes);
  return transposed ? transpose(values, operand.k, operand.rows, new Float32Array(values.length)) : values;
}

/** Byte codes `[rows, k]` of an 8-bit operand. */
export function operandCodes(operand: MatrixOperand): Uint8Array {
  const codes = operand.data as Uint8Array;
  return operand.transposed ? transpose(codes, operand.k, operand.rows, new Uint8Array(codes.length)) : codes;
}

/** Scale of the element at (row, p). */
export function operandScale(operand: MatrixOperand, row: number, p: number): number {
  const { scales, tileRows, tileK, transposed, rows, k } = operand;
  if (scales === undefined) return 1;
  const [x, y] = [Math.floor(row / tileRows), Math.floor(p / tileK)];
  const index = transposed ? y * Math.ceil(rows / tileRows) + x : x * Math.ceil(k / tileK) + y;
  return scales[index]!;
}

/**
 * What the kernels take.
 *
 * @param withExponents - for tensor-core accumulation.
 * @param scalesInside - MX scales go into the tensor core instead of being applied to its sums.
 */
export function kernelOperand(
  operand: MatrixOperand,
  withExponents: boolean,
  scalesInside: boolean,
): ProductOperand {
  const { data, spec, scales, tileRows, tileK, transposed, scaleCodes } = operand;
  return {
    data,
    transposed,
    tileRows,
    tileK,
    ...(scales === undefined || scalesInside ? {} : { scales }),
    ...(scalesInside ? { blockExponents: Int32Array.from(scaleCodes!, (code) => code - 127) } : {}),
    ...(spec === undefined ? {} : { table: decodeTable(spec) }),
    ...(withExponents ? { exponents: operandExponents(spec === formats.e5m2 ? 'e5m2' : 'e4m3fn') } : {}),
  };
}

/** Whether every product of the two formats' elements is exact in float32. */
export function hasExactProducts(a: FormatSpec, b: FormatSpec): boolean {
  const bits = a.mantissaBits + b.mantissaBits + 2;
  const smallest = 2 ** (2 - a.bias - a.mantissaBits - b.bias - b.mantissaBits);
  return bits <= 24 && a.max * b.max < 2 ** 128 && smallest >= 2 ** -149;
}
