import { MAXIMUM_SEGMENT } from '@moestack/kernels';
import { checkCodesRange } from './decode.js';
import type { Codes } from './format-spec.js';
import { type Accumulation, scalarElements, scalarProduct } from './matmul-scalar.js';
import { segmentStarts } from './matmul-segments.js';
import { hasExactProducts, kernelOperand, type MatrixOperand } from './product-operand.js';
import { invalid } from './scheme.js';
import { simdKernels } from './simd.js';
import { type Architecture, checkOperandFormat, type TensorCore, tensorCore } from './tensor-core.js';

/** How partial sums are made and joined. */
export interface ProductOptions {
  /**
   * How products are added between promotions: in double (reference), in float32 in order of k, or as a tensor core
   * of that generation does. Default `f32`.
   */
  readonly accumulate?: 'f64' | 'f32' | Architecture;
  /**
   * Elements of k after which the partial sum is scaled and added to a float32 sum (N_C of the DeepSeek-V3 report).
   * Default: where a scale changes along k, and once at the end. No effect on `f64`.
   */
  readonly promoteEvery?: number | undefined;
  /**
   * How a partial sum is promoted, by float32 FMA: `deepgemm` (default) fma(sa * sb, partial, sum), `kernelpy`
   * fma(partial * sa, sb, sum).
   */
  readonly promotion?: 'deepgemm' | 'kernelpy';
}

/** Below this many multiply-adds staging costs more than it saves. */
export const SIMD_LEAST_WORK: number = 1 << 12;

/** Multiplies a `[m, k]` by b `[n, k]` transposed into `out` `[m, n]`. */
export function product(
  a: MatrixOperand,
  b: MatrixOperand,
  options: ProductOptions,
  out: Float32Array,
): Float32Array {
  const accumulation = accumulationOf(a, b, options);
  for (const { spec, data } of [a, b]) if (spec !== undefined) checkCodesRange(spec, data as Codes);
  if (!simdProduct(a, b, accumulation, out)) scalarProduct(a, b, accumulation, out);
  return out;
}

/**
 * Checks options against operands and fills in defaults.
 *
 * @throws {@link Fp8Error}
 */
export function accumulationOf(a: MatrixOperand, b: MatrixOperand, options: ProductOptions): Accumulation {
  const { accumulate = 'f32', promotion = 'deepgemm' } = options;
  if (b.k !== a.k) {
    throw invalid('bad-shape', `b with K = ${a.k} columns as a`, b.k, 'pass b as [N, K]');
  }
  if (promotion !== 'deepgemm' && promotion !== 'kernelpy') {
    throw invalid('bad-promotion', 'promotion as deepgemm or kernelpy', promotion, 'choose one of them');
  }
  const core = accumulate === 'f64' || accumulate === 'f32' ? undefined : tensorCore(accumulate);
  const scalesInside = core?.hasBlockScales === true && a.isMx && b.isMx;
  if (core !== undefined) {
    for (const { spec } of [a, b]) checkOperandFormat(spec?.name ?? 'float32');
  }
  if (scalesInside) {
    checkScaleCodes('a', a);
    checkScaleCodes('b', b);
  }
  const tiles = scalesInside ? [] : [a.tileK, b.tileK];
  const starts = segmentStarts(a.k, tiles, options.promoteEvery, core);
  return { accumulate, promotion, core, scalesInside, starts };
}

function checkScaleCodes(name: string, { rows, k, scaleCodes }: MatrixOperand): void {
  const expected = rows * Math.ceil(k / 32);
  if (scaleCodes instanceof Uint8Array && scaleCodes.length === expected) return;
  const remedy = 'pass the tensor as quantize() made it, with the E8M0 codes of its scales';
  throw invalid('bad-shape', `${expected} scaleCodes in ${name}`, scaleCodes?.length, remedy);
}

/** Takes the kernels where they give the same bits; false where they do not apply. */
function simdProduct(
  a: MatrixOperand,
  b: MatrixOperand,
  accumulation: Accumulation,
  out: Float32Array,
): boolean {
  const { accumulate, core, promotion, starts, scalesInside } = accumulation;
  const [m, n, k] = [a.rows, b.rows, a.k];
  if (m * n * k < SIMD_LEAST_WORK || accumulate === 'f64') return false;
  if (core === undefined && a.spec !== undefined && b.spec !== undefined) {
    if (!hasExactProducts(a.spec, b.spec)) return false;
  }
  for (let s = 0; s + 1 < starts.length; s++) if (starts[s + 1]! - starts[s]! > MAXIMUM_SEGMENT) return false;
  const kernels = simdKernels();
  if (kernels === undefined) return false;
  const isCore = core !== undefined;
  const [left, right] = [a, b].map((operand) => kernelOperand(operand, isCore, scalesInside)) as [
    ReturnType<typeof kernelOperand>,
    ReturnType<typeof kernelOperand>,
  ];
  const fused = core === undefined ? {} : { fused: core.fused, wide: isWide(core) };
  kernels.segmentProduct(left, right, out, [m, n, k], { starts, promotion, ...fused });
  if (isCore) {
    const [rowFlags, colFlags] = [specialRows(a, scalesInside), specialRows(b, scalesInside)];
    if (rowFlags.includes(1) || colFlags.includes(1)) {
      redo(rowFlags, colFlags, m, n, scalarElements(a, b, accumulation), out);
    }
  }
  return true;
}

/** Computes anew the elements of flagged rows and columns, which the integer model of the kernels does not cover. */
function redo(
  rowFlags: Uint8Array,
  colFlags: Uint8Array,
  m: number,
  n: number,
  element: (row: number, col: number) => number,
  out: Float32Array,
): void {
  for (let row = 0; row < m; row++) {
    for (let col = 0; col < n; col++) {
      if (rowFlags[row]! + colFlags[col]! !== 0) out[row * n + col] = element(row, col);
    }
  }
}

/** Whether the kernels' double-precision model is the one to take. */
export function isWide(core: TensorCore): boolean {
  return core.alignBits > 13;
}

/** 1 for each row of an 8-bit operand that holds NaN or infinity, also among MX scales inside the tensor core. */
export function specialRows(
  { data, spec, rows, k, transposed, scaleCodes }: MatrixOperand,
  scalesInside: boolean,
): Uint8Array {
  const flags = new Uint8Array(rows);
  const least = spec?.name === 'e5m2' ? 0x7c : 0x7f;
  for (let i = 0; i < rows * k; i++) {
    if ((data[i]! & 0x7f) >= least) flags[transposed ? i % rows : Math.floor(i / k)] = 1;
  }
  if (scalesInside) {
    const blocks = Math.ceil(k / 32);
    for (let i = 0; i < rows * blocks; i++) if (scaleCodes![i] === 255) flags[Math.floor(i / blocks)] = 1;
  }
  return flags;
}
