import type { DelayedScaling } from './delayed-scaling.js';
import { encode } from './encode.js';
import { type FormatName, formats } from './format-spec.js';
import { packPairs, unpackPairs } from './pack.js';
import { floatOperand, type MatrixOperand, quantizedOperand } from './product-operand.js';
import { dequantize, quantize } from './quantize.js';
import type { OperandRecipe } from './recipe.js';
import { invalid, type QuantizedTensor, quantizedLayout } from './scheme.js';
import { transpose } from './transpose.js';

/** A matrix `[rows, cols]` as it enters products: codes and scales, or float32 values. */
export interface LinearMatrix {
  readonly shape: readonly [rows: number, cols: number];
  /** Codes and scales, of the transpose when `isTransposed`; undefined for values. */
  readonly quantized?: QuantizedTensor;
  readonly values?: Float32Array;
  readonly isTransposed: boolean;
}

const FLT_MAX = 3.4028234663852886e38;
const CHUNK_ELEMENTS = 1 << 14;

/**
 * Brings a matrix into the form that a recipe asks for.
 *
 * @param scaling - of a `delayed` operand: its scale is used, and the matrix's amax recorded.
 */
export function prepareMatrix(
  values: Float32Array,
  shape: readonly [number, number],
  operand: OperandRecipe,
  scaling: DelayedScaling | undefined,
): LinearMatrix {
  const [rows, cols] = shape;
  switch (operand.type) {
    case 'f32':
      return { shape, values, isTransposed: false };
    case 'bf16':
      return { shape, values: roundedToBf16(values), isTransposed: false };
    case 'scheme':
      if (operand.columns !== true) {
        return { shape, quantized: quantize(values, [rows, cols], operand.scheme), isTransposed: false };
      }
      return {
        shape,
        quantized: quantize(
          transpose(values, rows, cols, new Float32Array(values.length)),
          [cols, rows],
          operand.scheme,
        ),
        isTransposed: true,
      };
    case 'current': {
      const factor = currentFactor(amaxOf(values), formats[operand.format].max, operand.powerOfTwo === true);
      return {
        shape,
        quantized: quantizeByFactor(values, shape, operand.format, factor),
        isTransposed: false,
      };
    }
    case 'delayed': {
      if (scaling === undefined) {
        const remedy = 'pass linearScaling(recipe), the same object every step';
        throw invalid('no-scaling', 'scaling for a delayed operand', scaling, remedy);
      }
      scaling.record(amaxOf(values));
      const quantized = quantizeByFactor(values, shape, operand.format, scaling.scale);
      return { shape, quantized, isTransposed: false };
    }
  }
}

/** Values of a prepared matrix, `[rows, cols]`. */
export function matrixValues({ shape, quantized, values, isTransposed }: LinearMatrix): Float32Array {
  const stored = values ?? dequantize(quantized!);
  if (!isTransposed) return stored;
  return transpose(stored, shape[1], shape[0], new Float32Array(stored.length));
}

/** The matrix, or its transpose, as a factor whose columns are summed over. */
export function matrixFactor(matrix: LinearMatrix, ofTranspose: boolean): MatrixOperand {
  const { shape, quantized, values, isTransposed } = matrix;
  const transposed = isTransposed !== ofTranspose;
  if (quantized !== undefined) return quantizedOperand(quantized, 'the operand', transposed);
  return floatOperand(values!, shape, transposed);
}

/** Codes of values times a float32 factor, saturating; the scale is the factor's float32 reciprocal. */
function quantizeByFactor(
  values: Float32Array,
  [rows, cols]: readonly [number, number],
  format: FormatName,
  factor: number,
): QuantizedTensor {
  const scales = Float32Array.of(1 / factor);
  const codes = formats[format].bits <= 8 ? new Uint8Array(values.length) : new Uint16Array(values.length);
  const scaled = new Float32Array(Math.min(CHUNK_ELEMENTS, values.length));
  for (let start = 0; start < values.length; start += CHUNK_ELEMENTS) {
    const count = Math.min(CHUNK_ELEMENTS, values.length - start);
    for (let i = 0; i < count; i++) scaled[i] = values[start + i]! * factor;
    encode(format, scaled.subarray(0, count), { out: codes.subarray(start, start + count) });
  }
  const scheme = { kind: 'tensor', format } as const;
  // A tensor without elements has no tile.
  return {
    shape: [rows, cols],
    scheme,
    codes,
    scales: values.length === 0 ? quantize(values, [rows, cols], scheme).scales : scales,
  };
}

/** Transformer Engine's `compute_scale_from_amax` (recipe_common.cuh): 1 without a usable amax. */
function currentFactor(amax: number, max: number, powerOfTwo: boolean): number {
  if (amax === 0 || amax === Number.POSITIVE_INFINITY) return 1;
  const factor = Math.min(Math.fround(max / amax), FLT_MAX);
  if (!powerOfTwo) return factor;
  const bits = new Uint32Array(Float32Array.of(factor).buffer);
  bits[0] = bits[0]! & 0xff800000;
  return new Float32Array(bits.buffer)[0]!;
}

/** Largest magnitude, infinity included, NaN ignored. */
function amaxOf(values: Float32Array): number {
  let amax = 0;
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i]!);
    if (magnitude > amax) amax = magnitude;
  }
  return amax;
}

function roundedToBf16(values: Float32Array): Float32Array {
  const out = new Float32Array(values.length);
  const [from, to] = [
    new Uint32Array(values.buffer, values.byteOffset, values.length),
    new Uint32Array(out.buffer),
  ];
  for (let i = 0; i < from.length; i++) {
    const word = from[i]!;
    const isNotNumber = (word & 0x7fffffff) > 0x7f800000;
    to[i] = isNotNumber ? (word | 0x400000) & 0xffff0000 : (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000;
  }
  return out;
}

/**
 * What forward keeps of x for Wgrad, in as few bytes as the recipe's format takes: FP8 codes one a byte, E5M6 codes two
 * in three bytes, bfloat16 two bytes, each with its float32 scales.
 */
export class KeptInput {
  readonly shape: readonly [rows: number, cols: number];
  readonly #matrix: Omit<LinearMatrix, 'shape'>;
  readonly #packed: Uint8Array | Uint16Array | undefined;

  /** @param isOwn - whether nobody else will write to the matrix's arrays. */
  constructor(matrix: LinearMatrix, operand: OperandRecipe, isOwn: boolean) {
    const { quantized, values } = matrix;
    this.shape = [matrix.shape[0], matrix.shape[1]];
    if (values !== undefined) {
      this.#matrix = { isTransposed: false };
      if (operand.type === 'bf16') this.#packed = bf16Codes(values);
      else this.#matrix = { isTransposed: false, values: isOwn ? values : values.slice() };
    } else if (quantized !== undefined && quantized.codes instanceof Uint16Array && isTwelveBit(quantized)) {
      this.#packed = packPairs(quantized.codes);
      this.#matrix = {
        isTransposed: matrix.isTransposed,
        quantized: { ...quantized, codes: new Uint16Array(0) },
      };
    } else this.#matrix = matrix;
  }

  /** Bytes held: codes and scales, or values. */
  get bytes(): number {
    const { quantized, values } = this.#matrix;
    const scales =
      quantized === undefined ? 0 : quantized.scales.byteLength + (quantized.scaleCodes?.byteLength ?? 0);
    const elements = this.#packed ?? values ?? quantized!.codes;
    return elements.byteLength + scales;
  }

  /** What bfloat16 would take. */
  get bf16Bytes(): number {
    return this.shape[0] * this.shape[1] * 2;
  }

  /** The kept matrix. */
  matrix(): LinearMatrix {
    const { shape } = this;
    const { quantized } = this.#matrix;
    if (this.#packed === undefined) return { shape, ...this.#matrix };
    if (quantized === undefined) {
      const words = new Uint32Array(this.#packed.length);
      for (let i = 0; i < words.length; i++) words[i] = this.#packed[i]! << 16;
      return { shape, values: new Float32Array(words.buffer), isTransposed: false };
    }
    const codes = unpackPairs(this.#packed as Uint8Array, shape[0] * shape[1]);
    return { shape, ...this.#matrix, quantized: { ...quantized, codes } };
  }
}

function isTwelveBit(q: QuantizedTensor): boolean {
  return quantizedLayout(q, 'the kept input').spec.bits === 12;
}

/** Upper halves of values on the bfloat16 grid. */
function bf16Codes(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const codes = new Uint16Array(words.length);
  for (let i = 0; i < codes.length; i++) codes[i] = words[i]! >>> 16;
  return codes;
}
