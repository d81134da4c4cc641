import { DelayedScaling } from './delayed-scaling.js';
import { KeptInput, type LinearMatrix, matrixFactor, matrixValues, prepareMatrix } from './linear-matrix.js';
import { product } from './product.js';
import type { OperandRecipe, Recipe } from './recipe.js';
import { invalid, type QuantizedTensor, quantizedLayout } from './scheme.js';

/** Delayed scales of one linear layer; each tensor has its own, made by {@link linearScaling}. */
export interface LinearScaling {
  readonly input: DelayedScaling;
  readonly weight: DelayedScaling;
  readonly gradient: DelayedScaling;
}

/** Options of {@link prepareInput}, {@link prepareWeight} and {@link prepareGradient}. */
export interface PrepareOptions {
  readonly recipe: Recipe;
  /** Needed by the `delayed` recipe. */
  readonly scaling?: LinearScaling | undefined;
}

/** A weight `[N, K]` in the forms that its products take. */
export interface LinearWeight {
  readonly shape: readonly [n: number, k: number];
  readonly forward: LinearMatrix;
  readonly dgrad: LinearMatrix;
}

/** An input `[M, K]`: for the forward product, and what is to be kept until Wgrad. */
export interface LinearInput {
  readonly shape: readonly [m: number, k: number];
  readonly forward: LinearMatrix;
  readonly kept: KeptInput;
}

/** A gradient `[M, N]` in the forms that its products take. */
export interface LinearGradient {
  readonly shape: readonly [m: number, n: number];
  readonly dgrad: LinearMatrix;
  readonly wgrad: LinearMatrix;
}

/** Options of {@link linearForward}, {@link linearDgrad} and {@link linearWgrad}. */
export interface LinearOptions {
  readonly recipe: Recipe;
  /** Receives the float32 result. */
  readonly out?: Float32Array | undefined;
  /** Adds the result to `out` in float32 instead of overwriting it: gradients over micro-batches. */
  readonly add?: boolean | undefined;
}

/** Fresh delayed scales for the operands of a linear layer; undefined for recipes without such. */
export function linearScaling(recipe: Recipe): LinearScaling | undefined {
  const of = (operand: OperandRecipe): DelayedScaling | undefined =>
    operand.type === 'delayed'
      ? new DelayedScaling({ ...recipe.scaling, format: operand.format })
      : undefined;
  const input = of(recipe.forward.input);
  const weight = of(recipe.forward.weight);
  const gradient = of(recipe.dgrad.gradient);
  return input && weight && gradient && { input, weight, gradient };
}

/** Quantises a weight `[N, K]` for its products; once per optimiser step is enough. */
export function prepareWeight(
  weight: Float32Array,
  shape: readonly [n: number, k: number],
  { recipe, scaling }: PrepareOptions,
): LinearWeight {
  checkMatrix('weight', weight, shape);
  const forward = prepareMatrix(weight, shape, recipe.forward.weight, scaling?.weight);
  const { weight: dgrad } = recipe.dgrad;
  return {
    shape,
    forward,
    dgrad: dgrad === 'forward' ? forward : prepareMatrix(weight, shape, dgrad, scaling?.weight),
  };
}

/**
 * Quantises an input `[M, K]` for the forward product and for keeping. Layers that share an input can share the result.
 *
 * @param input - values, or codes and scales that arrived quantised: the forward product takes them as they are.
 */
export function prepareInput(
  input: Float32Array | QuantizedTensor,
  shape: readonly [m: number, k: number],
  { recipe, scaling }: PrepareOptions,
): LinearInput {
  const arrived = arrivedMatrix('input', input, shape);
  const { keep } = recipe.wgrad;
  const forward =
    arrived ?? prepareMatrix(input as Float32Array, shape, recipe.forward.input, scaling?.input);
  if (keep === 'forward') {
    const isOwn = forward.values !== input;
    return { shape, forward, kept: new KeptInput(forward, recipe.forward.input, isOwn) };
  }
  const values = arrived === undefined ? (input as Float32Array) : matrixValues(arrived);
  const kept = prepareMatrix(values, shape, keep, scaling?.input);
  return { shape, forward, kept: new KeptInput(kept, keep, kept.values !== input) };
}

/**
 * Quantises a gradient `[M, N]` for Dgrad and Wgrad.
 *
 * @param gradient - values, or codes and scales that arrived quantised: Dgrad takes them as they are.
 */
export function prepareGradient(
  gradient: Float32Array | QuantizedTensor,
  shape: readonly [m: number, n: number],
  { recipe, scaling }: PrepareOptions,
): LinearGradient {
  const arrived = arrivedMatrix('gradient', gradient, shape);
  const dgrad =
    arrived ?? prepareMatrix(gradient as Float32Array, shape, recipe.dgrad.gradient, scaling?.gradient);
  const { gradient: wgrad, gradientFrom } = recipe.wgrad;
  if (wgrad === 'dgrad') return { shape, dgrad, wgrad: dgrad };
  const isFromCodes = arrived !== undefined || gradientFrom === 'dgrad';
  const values = isFromCodes ? matrixValues(dgrad) : (gradient as Float32Array);
  return { shape, dgrad, wgrad: prepareMatrix(values, shape, wgrad, scaling?.gradient) };
}

/**
 * y `[M, N]` = x W^T (Fprop).
 *
 * @example
 * ```ts
 * import { linearForward, prepareInput, prepareWeight, recipe } from '@moestack/fp8';
 *
 * const options = { recipe: recipe('deepseek-v3') };
 * const x = prepareInput(new Float32Array(4 * 256).fill(0.5), [4, 256], options);
 * const w = prepareWeight(new Float32Array(8 * 256).fill(2), [8, 256], options);
 * console.log(linearForward(x, w, options)[0], x.kept.bytes); // 256; 1024 codes and 8 scales
 * ```
 */
export function linearForward(
  input: LinearInput,
  weight: LinearWeight,
  options: LinearOptions,
): Float32Array {
  return multiply(matrixFactor(input.forward, false), matrixFactor(weight.forward, false), options);
}

/** dx `[M, K]` = dy W (Dgrad). */
export function linearDgrad(
  gradient: LinearGradient,
  weight: LinearWeight,
  options: LinearOptions,
): Float32Array {
  return multiply(matrixFactor(gradient.dgrad, false), matrixFactor(weight.dgrad, true), options);
}

/** dW `[N, K]` = dy^T x (Wgrad), x coming from what forward kept. */
export function linearWgrad(gradient: LinearGradient, kept: KeptInput, options: LinearOptions): Float32Array {
  return multiply(
    matrixFactor(gradient.wgrad, true),
    matrixFactor(wgradInput(kept, options.recipe), true),
    options,
  );
}

/** The kept input as Wgrad takes it. */
export function wgradInput(kept: KeptInput, recipe: Recipe): LinearMatrix {
  const { input } = recipe.wgrad;
  const matrix = kept.matrix();
  return input === 'kept' ? matrix : prepareMatrix(matrixValues(matrix), kept.shape, input, undefined);
}

type Factor = ReturnType<typeof matrixFactor>;

function multiply(a: Factor, b: Factor, { recipe, out, add = false }: LinearOptions): Float32Array {
  const length = a.rows * b.rows;
  if (out !== undefined && (!(out instanceof Float32Array) || out.length !== length)) {
    const remedy = `pass an array for [${a.rows}, ${b.rows}]`;
    throw invalid('bad-out', `out as ${length} float32 values`, (out as Float32Array)?.length, remedy);
  }
  if (!add || out === undefined) return product(a, b, recipe, out ?? new Float32Array(length));
  const sum = product(a, b, recipe, new Float32Array(length));
  for (let i = 0; i < length; i++) out[i] = out[i]! + sum[i]!;
  return out;
}

function arrivedMatrix(
  name: string,
  matrix: Float32Array | QuantizedTensor,
  shape: readonly [number, number],
): LinearMatrix | undefined {
  if (matrix instanceof Float32Array) {
    checkMatrix(name, matrix, shape);
    return undefined;
  }
  const { rows, cols } = quantizedLayout(matrix, name);
  if (rows !== shape[0] || cols !== shape[1]) {
    throw invalid('bad-shape', `${name} of shape [${shape.join(', ')}]`, [rows, cols], 'pass its own shape');
  }
  return { shape, quantized: matrix, isTransposed: false };
}

function checkMatrix(name: string, values: Float32Array, shape: readonly [number, number]): void {
  const [rows, cols] = shape;
  const isShape = Number.isSafeInteger(rows) && rows >= 0 && Number.isSafeInteger(cols) && cols >= 0;
  if (isShape && values instanceof Float32Array && values.length === rows * cols) return;
  const expected = `${name} as float32 values of shape [${shape.join(', ')}]`;
  throw invalid('bad-shape', expected, values?.length, 'flatten leading dimensions into rows');
}
