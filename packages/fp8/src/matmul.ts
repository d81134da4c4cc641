import { decode } from './decode.js';
import { fmaFloat32 } from './fma.js';
import type { Codes } from './format-spec.js';
import { segmentStarts } from './matmul-segments.js';
import { invalid, type QuantizedTensor, quantizedLayout, type SchemeLayout } from './scheme.js';
import { type Architecture, chainDot, checkOperandFormat, tensorCore, unpackOperand } from './tensor-core.js';

/** Options of {@link matmul}. */
export interface MatmulOptions {
  /**
   * How products are added between promotions: in double (reference), in float32 in order of k, or as a tensor core
   * of that generation does. Default `f32`.
   */
  accumulate?: 'f64' | 'f32' | Architecture;
  /**
   * Elements of k after which the partial sum is scaled and added to a float32 sum (N_C of the DeepSeek-V3 report).
   * Default: where a scale changes along k, and once at the end. No effect on `f64`.
   */
  promoteEvery?: number;
  /**
   * How a partial sum is promoted, by float32 FMA: `deepgemm` (default) fma(sa * sb, partial, sum), `kernelpy`
   * fma(partial * sa, sb, sum).
   */
  promotion?: 'deepgemm' | 'kernelpy';
  /** Receives float32 `[M, N]`. */
  out?: Float32Array;
}

interface Side {
  readonly q: QuantizedTensor;
  readonly layout: SchemeLayout;
}

/**
 * Product of quantised matrices with block scales: a `[M, K]` times b `[N, K]` transposed, to float32 `[M, N]`.
 *
 * MX operands on Blackwell use the instructions that apply E8M0 scales inside the tensor core.
 *
 * @throws {@link Fp8Error} when shapes differ in K, or the accumulation does not fit formats and scales.
 *
 * @example
 * ```ts
 * import { matmul, quantize } from '@moestack/fp8';
 *
 * const x = quantize(new Float32Array(2 * 256).fill(0.5), [2, 256], { kind: 'tile', tile: [1, 128] });
 * const w = quantize(new Float32Array(3 * 256).fill(2), [3, 256], { kind: 'tile', tile: [128, 128] });
 * console.log(matmul(x, w, { accumulate: 'hopper', promoteEvery: 128 })); // six times 256
 * ```
 */
export function matmul(a: QuantizedTensor, b: QuantizedTensor, options: MatmulOptions = {}): Float32Array {
  const sides = [
    { q: a, layout: quantizedLayout(a, 'a') },
    { q: b, layout: quantizedLayout(b, 'b') },
  ] as const;
  const [m, n, k] = [a.shape[0], b.shape[0], a.shape[1]];
  if (b.shape[1] !== k) {
    throw invalid('bad-shape', `b with K = ${k} columns as a`, b.shape[1], 'pass b as [N, K]');
  }
  const { accumulate = 'f32', promotion = 'deepgemm', out = new Float32Array(m * n) } = options;
  if (!(out instanceof Float32Array) || out.length !== m * n) {
    throw invalid('bad-out', `out as ${m * n} float32 values`, out?.length, 'pass an out array of [M, N]');
  }
  if (promotion !== 'deepgemm' && promotion !== 'kernelpy') {
    throw invalid('bad-promotion', 'promotion as deepgemm or kernelpy', promotion, 'choose one of them');
  }
  const isArchitecture = accumulate !== 'f64' && accumulate !== 'f32';
  const core = isArchitecture ? tensorCore(accumulate) : undefined;
  const scalesInside = core?.hasBlockScales === true && a.scheme.kind === 'mx' && b.scheme.kind === 'mx';
  const tiles = scalesInside ? [] : sides.map(({ layout }) => layout.tileCols);
  const starts = segmentStarts(k, tiles, options.promoteEvery, core);
  const partial =
    core === undefined
      ? scalarPartial(sides, accumulate === 'f64')
      : tensorCorePartial(sides, core, k, scalesInside);
  const [aSide, bSide] = sides;
  for (let col = 0; col < n; col++) {
    for (let row = 0; row < m; row++) {
      let sum = 0;
      for (let s = 0; s + 1 < starts.length; s++) {
        const from = starts[s]!;
        const dot = partial(row, col, from, starts[s + 1]!);
        const scaleA = scalesInside ? 1 : scaleAt(aSide, row, from);
        const scaleB = scalesInside ? 1 : scaleAt(bSide, col, from);
        if (accumulate === 'f64') sum += dot * (scaleA * scaleB);
        else if (promotion === 'deepgemm') sum = fmaFloat32(Math.fround(scaleA * scaleB), dot, sum);
        else sum = fmaFloat32(Math.fround(dot * scaleA), scaleB, sum);
      }
      out[row * n + col] = sum;
    }
  }
  return out;
}

type Partial = (row: number, col: number, from: number, to: number) => number;

/** Dot products of decoded codes in float64, or float32 in order of k (each product is exact before it is added). */
function scalarPartial([a, b]: readonly [Side, Side], inDouble: boolean): Partial {
  const k = a.layout.cols;
  const x = decode(a.layout.spec, a.q.codes);
  const y = new Float32Array(k);
  let decoded = -1;
  return (row, col, from, to) => {
    if (decoded !== col) {
      decode(b.layout.spec, b.q.codes.subarray(col * k, col * k + k) as Codes, { out: y });
      decoded = col;
    }
    const offset = row * k;
    let sum = 0;
    if (inDouble) for (let p = from; p < to; p++) sum += x[offset + p]! * y[p]!;
    else for (let p = from; p < to; p++) sum = Math.fround(sum + x[offset + p]! * y[p]!);
    return sum;
  };
}

function tensorCorePartial(
  [a, b]: readonly [Side, Side],
  core: ReturnType<typeof tensorCore>,
  k: number,
  scalesInside: boolean,
): Partial {
  const [aOperand, bOperand] = [a, b].map(({ q, layout }) => {
    const format = layout.spec.name as 'e4m3fn';
    checkOperandFormat(format);
    return unpackOperand(format, q.codes as Uint8Array, layout.rows, k);
  }) as [ReturnType<typeof unpackOperand>, ReturnType<typeof unpackOperand>];
  const chain = {
    core,
    output: 'f32',
    a: aOperand,
    b: bOperand,
    k,
    aScales: scalesInside ? a.q.scaleCodes : undefined,
    bScales: scalesInside ? b.q.scaleCodes : undefined,
  } as const;
  return (row, col, from, to) => chainDot(chain, row, col, from, to, 0);
}

function scaleAt({ q, layout }: Side, row: number, col: number): number {
  const block = Math.floor(row / layout.tileRows) * layout.blockCols + Math.floor(col / layout.tileCols);
  return q.scales[block]!;
}
