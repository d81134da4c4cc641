import type { FormatName } from './format-spec.js';
import { isWide, SIMD_LEAST_WORK, specialRows } from './product.js';
import { codesOperand, kernelOperand } from './product-operand.js';
import { invalid } from './scheme.js';
import { simdKernels } from './simd.js';
import {
  type Architecture,
  chainDot,
  checkOperandFormat,
  roundToF16,
  type TensorCore,
  tensorCore,
  unpackOperand,
} from './tensor-core.js';

/** Shape and types of an emulated matrix multiply-accumulate. */
export interface MmaSpec {
  architecture: Architecture;
  /** `e4m3fn` or `e5m2`. */
  aFormat: FormatName;
  bFormat: FormatName;
  /** Accumulator and result; `f16` results come widened to float32. */
  output: 'f32' | 'f16';
  m: number;
  n: number;
  /** Any length: chained over instructions of 32, the last one padded with zeros. */
  k: number;
}

/**
 * d = a . b^T + c as an NVIDIA tensor core computes it, bit for bit by the model of MMA-Sim.
 *
 * The model is its authors' reading of the hardware; it says "as MMA-Sim", not "as measured on a GPU".
 *
 * @param a - codes `[m, k]`, row-major.
 * @param b - codes `[n, k]`, row-major.
 * @param c - initial accumulator `[m, n]`; rounded to float16 first for `f16` output.
 * @param scales - E8M0 codes per 32 of k, `[m, ceil(k/32)]` and `[n, ceil(k/32)]`: the MX instructions of Blackwell.
 * @returns float32 `[m, n]`; NaN is 0x7fffffff, or 0x7fff widened.
 * @throws {@link Fp8Error} for operands that do not fit, or an instruction that the architecture does not have.
 *
 * @example
 * ```ts
 * import { encode, mma } from '@moestack/fp8';
 *
 * const ones = encode('e4m3fn', new Float32Array(32).fill(1)) as Uint8Array;
 * const spec = { architecture: 'hopper', aFormat: 'e4m3fn', bFormat: 'e4m3fn', output: 'f32', m: 1, n: 1, k: 32 } as const;
 * console.log(mma(spec, ones, ones, Float32Array.of(2 ** 14))); // 16416
 * console.log(mma(spec, ones, ones, Float32Array.of(2 ** 20))); // 1048576: 13 bits cannot hold the 32
 * ```
 */
export function mma(
  spec: MmaSpec,
  a: Uint8Array,
  b: Uint8Array,
  c: Float32Array,
  scales?: { a: Uint8Array; b: Uint8Array },
): Float32Array {
  const { m, n, k, output } = spec;
  const core = tensorCore(spec.architecture);
  checkOperandFormat(spec.aFormat);
  checkOperandFormat(spec.bFormat);
  if (output !== 'f32' && output !== 'f16') {
    throw invalid('bad-output', 'output as f32 or f16', output, 'choose one of them');
  }
  for (const [name, size] of Object.entries({ m, n, k })) {
    if (!Number.isSafeInteger(size) || size < 0) {
      throw invalid('bad-shape', `${name} as a non-negative integer`, size, 'pass the sizes of the operands');
    }
  }
  checkLength('a', a, m * k);
  checkLength('b', b, n * k);
  if (!(c instanceof Float32Array) || c.length !== m * n) {
    throw invalid(
      'bad-shape',
      `c as ${m * n} float32 values`,
      c?.length,
      'pass zeros for a fresh accumulator',
    );
  }
  if (scales !== undefined) {
    if (!core.hasBlockScales || output !== 'f32') {
      const instruction = `${spec.architecture} with ${output} output`;
      const remedy = 'use blackwell or rtx-blackwell with f32 output, or no scales';
      throw invalid('bad-instruction', 'an MX instruction of Blackwell', instruction, remedy);
    }
    checkLength('scales.a', scales.a, m * Math.ceil(k / 32));
    checkLength('scales.b', scales.b, n * Math.ceil(k / 32));
  }
  const out = new Float32Array(m * n);
  const words = new Uint32Array(out.buffer);
  const nanWord = output === 'f16' ? 0x7fffe000 : 0x7fffffff;
  const simd = output === 'f32' ? chainedBySimd(spec, core, a, b, c, scales, out) : undefined;
  if (simd !== undefined && !simd.rows.includes(1) && !simd.cols.includes(1)) return out;
  const chain = {
    core,
    output,
    a: unpackOperand(spec.aFormat, a, m, k),
    b: unpackOperand(spec.bFormat, b, n, k),
    k,
    aScales: scales?.a,
    bScales: scales?.b,
  };
  for (let row = 0; row < m; row++) {
    for (let col = 0; col < n; col++) {
      if (simd !== undefined && simd.rows[row]! + simd.cols[col]! === 0) continue;
      const at = row * n + col;
      const initial = output === 'f16' ? roundToF16(c[at]!) : c[at]!;
      const d = chainDot(chain, row, col, 0, k, initial);
      if (Number.isNaN(d)) words[at] = nanWord;
      else out[at] = d;
    }
  }
  return out;
}

/** Length along k between which the kernels keep the accumulator; any multiple of an instruction will do. */
const CHAIN_K = 1024;
/** Hopper and Ada accumulators beyond these magnitudes are left to the scalar path: the kernels stay in float32. */
const [CHAIN_LEAST, CHAIN_MOST] = [2 ** -95, 2 ** 100];

/**
 * Computes d by the SIMD kernels where they cover the instruction.
 *
 * @returns flags of the rows and columns that contain NaN, infinity or an accumulator of extreme size, to be computed
 * by the scalar path; undefined when nothing was computed.
 */
function chainedBySimd(
  { aFormat, bFormat, m, n, k }: MmaSpec,
  core: TensorCore,
  a: Uint8Array,
  b: Uint8Array,
  c: Float32Array,
  scales: { a: Uint8Array; b: Uint8Array } | undefined,
  out: Float32Array,
): { rows: Uint8Array; cols: Uint8Array } | undefined {
  if (m * n * k < SIMD_LEAST_WORK) return undefined;
  const kernels = simdKernels();
  if (kernels === undefined) return undefined;
  const isMx = scales !== undefined;
  const left = codesOperand(aFormat, a, [m, k], scales?.a);
  const right = codesOperand(bFormat, b, [n, k], scales?.b);
  const [rows, cols] = [specialRows(left, isMx), specialRows(right, isMx)];
  const wide = isWide(core);
  const [least, most] = wide ? [0, Number.MAX_VALUE] : [CHAIN_LEAST, CHAIN_MOST];
  for (let i = 0; i < c.length; i++) {
    const magnitude = Math.abs(c[i]!);
    if (!(magnitude === 0 || (magnitude >= least && magnitude <= most))) rows[Math.floor(i / n)] = 1;
  }
  const starts: number[] = [];
  for (let start = 0; start < k; start += CHAIN_K) starts.push(start);
  out.set(c);
  kernels.segmentProduct(kernelOperand(left, true, isMx), kernelOperand(right, true, isMx), out, [m, n, k], {
    starts: [...starts, k],
    promotion: 'chain',
    fused: core.fused,
    wide,
  });
  return { rows, cols };
}

function checkLength(name: string, codes: Uint8Array, length: number): void {
  if (codes instanceof Uint8Array && codes.length === length) return;
  throw invalid(
    'bad-shape',
    `${name} as ${length} codes`,
    codes?.length,
    'pass row-major codes of the whole operand',
  );
}
