import { generator, normal } from '@moestack/fixtures';
import {
  linearDgrad,
  linearForward,
  linearScaling,
  linearWgrad,
  prepareGradient,
  prepareInput,
  prepareWeight,
  type Recipe,
} from '@moestack/fp8';

/** Operands of the three products of a linear layer. */
export interface LinearData {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly x: Float32Array;
  readonly w: Float32Array;
  readonly dy: Float32Array;
}

/** The layer whose errors the README states: 1 % of the channels of x twenty times larger, gradients of 1e-5. */
export function layerData(seed: number): LinearData {
  const [m, n, k] = [256, 192, 512];
  const random = generator(seed);
  const x = normal(m * k, random);
  for (let channel = 50; channel < k; channel += 100) {
    for (let row = 0; row < m; row++) x[row * k + channel] = x[row * k + channel]! * 20;
  }
  const dy = normal(m * n, random, 1e-5);
  // Tokens differ in the size of their gradients by a few binades.
  for (let row = 0; row < m; row++) {
    const gain = 2 ** (6 * random() - 3);
    for (let col = 0; col < n; col++) dy[row * n + col] = dy[row * n + col]! * gain;
  }
  return { m, n, k, x, w: normal(n * k, random, 0.02), dy };
}

/** out `[m, n]` of a(i, p) b(j, p) summed in double. */
export function doubleGemm(
  m: number,
  n: number,
  k: number,
  a: (i: number, p: number) => number,
  b: (j: number, p: number) => number,
): Float64Array {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) sum += a(i, p) * b(j, p);
      out[i * n + j] = sum;
    }
  }
  return out;
}

/** ||actual - expected|| / ||expected||, Frobenius. */
export function relativeError(actual: Float32Array, expected: Float64Array): number {
  let [error, norm] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(error / norm);
}

/** The three products without quantisation, in double. */
export function exactProducts({ m, n, k, x, w, dy }: LinearData): [Float64Array, Float64Array, Float64Array] {
  return [
    doubleGemm(
      m,
      n,
      k,
      (i, p) => x[i * k + p]!,
      (j, p) => w[j * k + p]!,
    ),
    doubleGemm(
      m,
      k,
      n,
      (i, p) => dy[i * n + p]!,
      (j, p) => w[p * k + j]!,
    ),
    doubleGemm(
      n,
      k,
      m,
      (i, p) => dy[p * n + i]!,
      (j, p) => x[p * k + j]!,
    ),
  ];
}

/** Relative errors of y, dx and dW against unquantised operands, and bytes kept per element of x. */
export function recipeErrors(
  recipe: Recipe,
  data: LinearData,
  exact: readonly [Float64Array, Float64Array, Float64Array],
): { y: number; dx: number; dw: number; keptBytes: number } {
  const { m, n, k, x, w, dy } = data;
  const scaling = linearScaling(recipe);
  const options = { recipe, scaling };
  const prepare = () =>
    [
      prepareInput(x, [m, k], options),
      prepareWeight(w, [n, k], options),
      prepareGradient(dy, [m, n], options),
    ] as const;
  if (scaling !== undefined) {
    // Delayed scales are those of a second step on the same data.
    prepare();
    for (const one of Object.values(scaling)) one.update();
  }
  const [input, weight, gradient] = prepare();
  return {
    y: relativeError(linearForward(input, weight, options), exact[0]),
    dx: relativeError(linearDgrad(gradient, weight, options), exact[1]),
    dw: relativeError(linearWgrad(gradient, input.kept, options), exact[2]),
    keptBytes: input.kept.bytes / (m * k),
  };
}
