/**
 * Gaussian-process regression (kriging) of log residuals with a Matérn 3/2 kernel over scaled coordinates.
 *
 * Near measurements it follows them; far from all of them it returns 0, so that whatever it corrects is left alone.
 */
export class ResidualModel {
  readonly #coordinates: readonly Float64Array[];
  readonly #weights: Float64Array;

  /**
   * @param coordinates - [rows][dimensions], already divided by their length scales.
   * @param residuals - [rows], natural logarithms.
   * @param noise - standard deviation of a measurement.
   */
  constructor(coordinates: readonly Float64Array[], residuals: Float64Array, noise: number) {
    const n = residuals.length;
    let square = 0;
    for (const residual of residuals) square += residual * residual;
    const variance = Math.max(square / Math.max(1, n), 1e-6);
    const factor = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) factor[i * n + j] = matern(coordinates[i]!, coordinates[j]!);
      factor[i * n + i]! += (noise * noise) / variance;
    }
    choleskyInPlace(factor, n);
    this.#coordinates = coordinates;
    this.#weights = solveCholesky(factor, residuals);
  }

  /** Expected log residual at a point. */
  at(point: Float64Array): number {
    const coordinates = this.#coordinates;
    const weights = this.#weights;
    let sum = 0;
    for (let i = 0; i < weights.length; i++) sum += weights[i]! * matern(coordinates[i]!, point);
    return sum;
  }
}

function matern(a: Float64Array, b: Float64Array): number {
  let square = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = a[i]! - b[i]!;
    square += difference * difference;
  }
  const distance = Math.sqrt(3 * square);
  return (1 + distance) * Math.exp(-distance);
}

/** Overwrites the lower triangle of a symmetric positive definite matrix with its Cholesky factor. */
function choleskyInPlace(matrix: Float64Array, n: number): void {
  for (let j = 0; j < n; j++) {
    const rowJ = j * n;
    let diagonal = matrix[rowJ + j]!;
    for (let k = 0; k < j; k++) diagonal -= matrix[rowJ + k]! * matrix[rowJ + k]!;
    // Two measurements at one point leave rounding errors around 0 if the noise is 0.
    const pivot = Math.sqrt(Math.max(diagonal, 1e-12));
    matrix[rowJ + j] = pivot;
    for (let i = j + 1; i < n; i++) {
      const rowI = i * n;
      let sum = matrix[rowI + j]!;
      for (let k = 0; k < j; k++) sum -= matrix[rowI + k]! * matrix[rowJ + k]!;
      matrix[rowI + j] = sum / pivot;
    }
  }
}

function solveCholesky(factor: Float64Array, right: Float64Array): Float64Array {
  const n = right.length;
  const solution = Float64Array.from(right);
  for (let i = 0; i < n; i++) {
    let sum = solution[i]!;
    for (let k = 0; k < i; k++) sum -= factor[i * n + k]! * solution[k]!;
    solution[i] = sum / factor[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    let sum = solution[i]!;
    for (let k = i + 1; k < n; k++) sum -= factor[k * n + i]! * solution[k]!;
    solution[i] = sum / factor[i * n + i]!;
  }
  return solution;
}
