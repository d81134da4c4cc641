import { Fp8Error } from './errors.js';
import type { FormatName } from './format-spec.js';
import { type MatmulOptions, matmul } from './matmul.js';
import { quantize } from './quantize.js';
import { SeededNumbers } from './seeded-numbers.js';
import type { Architecture } from './tensor-core.js';

/**
 * What the elements of both operands are drawn from.
 *
 * - `normal`: N(mean, 1), mean 0 unless given.
 * - `half-normal`: |N(0, 1)|.
 * - `uniform`: U(0, 1); `symmetric-uniform`: U(-1, 1).
 * - `log-normal`: exp(N(0, 1)) with a random sign.
 * - `outliers`: N(0, 1), one element in a hundred times 30.
 */
export type Distribution =
  | 'normal'
  | 'half-normal'
  | 'uniform'
  | 'symmetric-uniform'
  | 'log-normal'
  | 'outliers';

/** Every {@link Distribution}. */
export const distributions: readonly Distribution[] = Object.freeze([
  'normal',
  'half-normal',
  'uniform',
  'symmetric-uniform',
  'log-normal',
  'outliers',
] as const);

/** Options of {@link accumulationError}. */
export interface AccumulationStudyOptions {
  /** Length of the dot products. */
  readonly k: number;
  /** `f32` adds in float32 in order of k. */
  readonly accumulate: Architecture | 'f32';
  /** N_C: elements of k between promotions to a float32 sum; default: once, at the end. */
  readonly promoteEvery?: number;
  readonly promotion?: NonNullable<MatmulOptions['promotion']>;
  /** Default `normal`. */
  readonly distribution?: Distribution;
  /** Of `normal`; default 0. */
  readonly mean?: number;
  /** Format of both operands; default `e4m3fn`. */
  readonly format?: FormatName;
  /** Rows of both operands, so `size * size` dot products; default 48. */
  readonly size?: number;
  /** Default 0. */
  readonly seed?: number;
}

/**
 * How far an accumulation is from the exact sum of the same quantised products. Errors of single results are
 * relative to their exact value, so that those near zero, which cancellation leaves, dominate `maximum`.
 */
export interface AccumulationError {
  /** Frobenius norm of the difference over that of the exact results. */
  readonly frobenius: number;
  readonly median: number;
  readonly p99: number;
  readonly maximum: number;
  /** Largest difference over the largest exact result. */
  readonly maximumOfLargest: number;
  /** Mean of (result - exact) / |exact| over results of at least a tenth of the largest: below 0 towards zero for positive sums. */
  readonly bias: number;
  /** Frobenius error that quantising the operands, against BF16 ones, made before. */
  readonly quantization: number;
}

/** Most multiply-adds of one call: about half a minute. */
const MAX_PRODUCTS = 2 ** 32;

/**
 * Measures what limited accumulation costs on random operands: one scale a row, so that nothing but `promoteEvery`
 * promotes. The DeepSeek-V3 report (arXiv 2412.19437, section 3.3.2) names "nearly 2%" at K = 4096 without saying for
 * which data and metric.
 *
 * @throws {@link Fp8Error} for sizes that do not fit.
 *
 * @example
 * ```ts
 * import { accumulationError } from '@moestack/fp8';
 *
 * const once = accumulationError({ k: 4096, accumulate: 'hopper', size: 16 });
 * const promoted = accumulationError({ k: 4096, accumulate: 'hopper', size: 16, promoteEvery: 128 });
 * console.log(once.frobenius / promoted.frobenius); // about 10
 * ```
 */
export function accumulationError(options: AccumulationStudyOptions): AccumulationError {
  const { k, accumulate, promoteEvery, promotion, format = 'e4m3fn', size = 48, seed = 0 } = options;
  checkSizes(k, size);
  const numbers = new SeededNumbers(seed);
  const x = draw(numbers, size * k, options);
  const w = draw(numbers, size * k, options);
  const scheme = { kind: 'row', format } as const;
  const a = quantize(x, [size, k], scheme);
  const b = quantize(w, [size, k], scheme);
  const exact = matmul(a, b, { accumulate: 'f64' });
  const result = matmul(a, b, {
    accumulate,
    // Without it, one promotion at the end of k.
    ...(promoteEvery !== undefined && { promoteEvery }),
    ...(promotion !== undefined && { promotion }),
  });
  const unquantized = matmul(exactOperand(x, size, k), exactOperand(w, size, k), { accumulate: 'f64' });
  return { ...summarise(result, exact), quantization: frobenius(exact, unquantized) };
}

/** The operand in BF16, which FP8 is compared with. */
function exactOperand(values: Float32Array, rows: number, k: number): ReturnType<typeof quantize> {
  const scheme = { kind: 'tensor', format: 'bf16' } as const;
  return quantize(values, [rows, k], scheme);
}

function draw(
  numbers: SeededNumbers,
  length: number,
  { distribution = 'normal', mean = 0 }: AccumulationStudyOptions,
): Float32Array {
  if (!distributions.includes(distribution)) {
    throw new Fp8Error({
      code: 'fp8/bad-distribution',
      message: `expected distribution as ${distributions.join(', ')}, got ${String(distribution)}`,
      value: distribution,
      remedy: 'choose one of them',
    });
  }
  const values = new Float32Array(length);
  for (let i = 0; i < length; i++) values[i] = drawOne(numbers, distribution, mean);
  return values;
}

function drawOne(numbers: SeededNumbers, distribution: Distribution, mean: number): number {
  switch (distribution) {
    case 'normal':
      return numbers.normal() + mean;
    case 'half-normal':
      return Math.abs(numbers.normal());
    case 'uniform':
      return numbers.uniform();
    case 'symmetric-uniform':
      return 2 * numbers.uniform() - 1;
    case 'log-normal':
      return (numbers.uniform() < 0.5 ? -1 : 1) * Math.exp(numbers.normal());
    case 'outliers':
      return numbers.normal() * (numbers.uniform() < 0.01 ? 30 : 1);
  }
}

function summarise(result: Float32Array, exact: Float32Array): Omit<AccumulationError, 'quantization'> {
  const relative = new Float64Array(result.length);
  let largest = 0;
  let largestDifference = 0;
  for (let i = 0; i < result.length; i++) {
    const difference = Math.abs(result[i]! - exact[i]!);
    relative[i] = difference === 0 ? 0 : difference / Math.abs(exact[i]!);
    largest = Math.max(largest, Math.abs(exact[i]!));
    largestDifference = Math.max(largestDifference, difference);
  }
  let bias = 0;
  let counted = 0;
  for (let i = 0; i < result.length; i++) {
    if (Math.abs(exact[i]!) < largest / 10) continue;
    bias += (Math.abs(result[i]!) - Math.abs(exact[i]!)) / Math.abs(exact[i]!);
    counted++;
  }
  relative.sort();
  const quantile = (share: number): number =>
    relative[Math.min(relative.length - 1, Math.floor(share * relative.length))]!;
  return {
    frobenius: frobenius(result, exact),
    median: quantile(0.5),
    p99: quantile(0.99),
    maximum: quantile(1),
    maximumOfLargest: largest === 0 ? 0 : largestDifference / largest,
    bias: counted === 0 ? 0 : bias / counted,
  };
}

function frobenius(result: Float32Array, exact: Float32Array): number {
  let noise = 0;
  let signal = 0;
  for (let i = 0; i < result.length; i++) {
    noise += (result[i]! - exact[i]!) ** 2;
    signal += exact[i]! ** 2;
  }
  return signal === 0 ? 0 : Math.sqrt(noise / signal);
}

function checkSizes(k: number, size: number): void {
  const isSize = (value: number): boolean => Number.isInteger(value) && value >= 1;
  if (isSize(k) && isSize(size) && size * size * k <= MAX_PRODUCTS) return;
  throw new Fp8Error({
    code: 'fp8/bad-shape',
    message: `expected positive whole numbers with size * size * k of at most ${MAX_PRODUCTS}, got size ${size} and k ${k}`,
    value: [size, k],
    remedy: 'use fewer rows, or a shorter k',
  });
}
