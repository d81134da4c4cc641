/** A row of a sparse design matrix. */
export interface SparseRow {
  readonly at: Int32Array;
  readonly value: Float64Array;
}

export interface LogisticOptions {
  /** Weight of half the squared norm of the weights; the bias is free. */
  readonly l2: number;
  readonly iterations: number;
  /** Weight of each row. */
  readonly rowWeights: Float64Array;
}

const MEMORY = 8;

/** Fits a logistic regression by L-BFGS. @returns weights `[size]` and then the bias. */
export function fitLogistic(
  rows: readonly SparseRow[],
  labels: Float64Array,
  size: number,
  options: LogisticOptions,
): Float64Array {
  const dimension = size + 1;
  let point = new Float64Array(dimension);
  let gradient = new Float64Array(dimension);
  let loss = lossAt(rows, labels, size, options, point, gradient);
  const history: { step: Float64Array; change: Float64Array; product: number }[] = [];
  for (let iteration = 0; iteration < options.iterations; iteration++) {
    const direction = Float64Array.from(gradient);
    const factors = new Float64Array(history.length);
    for (let h = history.length - 1; h >= 0; h--) {
      const { step, change, product } = history[h]!;
      factors[h] = dot(step, direction) / product;
      add(direction, change, -factors[h]!);
    }
    const last = history[history.length - 1];
    if (last !== undefined) {
      const scale = last.product / dot(last.change, last.change);
      for (let i = 0; i < dimension; i++) direction[i]! *= scale;
    }
    history.forEach(({ step, change, product }, h) => {
      add(direction, step, factors[h]! - dot(change, direction) / product);
    });
    const slope = -dot(gradient, direction);
    let length = last === undefined ? 1 / Math.max(1, Math.sqrt(-slope)) : 1;
    let next = point;
    let nextGradient = gradient;
    let nextLoss = loss;
    for (let attempt = 0; attempt < 30; attempt++, length /= 2) {
      next = Float64Array.from(point);
      add(next, direction, -length);
      nextGradient = new Float64Array(dimension);
      nextLoss = lossAt(rows, labels, size, options, next, nextGradient);
      if (nextLoss <= loss + 1e-4 * length * slope) break;
    }
    if (!(nextLoss < loss)) break;
    const step = next.map((value, i) => value - point[i]!);
    const change = nextGradient.map((value, i) => value - gradient[i]!);
    const product = dot(step, change);
    if (product > 1e-12) {
      history.push({ step, change, product });
      if (history.length > MEMORY) history.shift();
    }
    const done = loss - nextLoss < 1e-7 * Math.abs(loss);
    point = next;
    gradient = nextGradient;
    loss = nextLoss;
    if (done) break;
  }
  return point;
}

function lossAt(
  rows: readonly SparseRow[],
  labels: Float64Array,
  size: number,
  options: LogisticOptions,
  point: Float64Array,
  gradient: Float64Array,
): number {
  let loss = 0;
  rows.forEach(({ at, value }, r) => {
    let z = point[size]!;
    for (let i = 0; i < at.length; i++) z += point[at[i]!]! * value[i]!;
    const label = labels[r]!;
    const weight = options.rowWeights[r]!;
    loss +=
      weight * (z > 0 ? Math.log1p(Math.exp(-z)) + (1 - label) * z : Math.log1p(Math.exp(z)) - label * z);
    const error = weight * (1 / (1 + Math.exp(-z)) - label);
    for (let i = 0; i < at.length; i++) gradient[at[i]!]! += error * value[i]!;
    gradient[size]! += error;
  });
  for (let i = 0; i < size; i++) {
    loss += (options.l2 / 2) * point[i]! ** 2;
    gradient[i]! += options.l2 * point[i]!;
  }
  return loss;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function add(target: Float64Array, source: Float64Array, factor: number): void {
  for (let i = 0; i < target.length; i++) target[i]! += factor * source[i]!;
}
