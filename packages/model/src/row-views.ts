/**
 * Views that begin at a row of a matrix, made once and kept, so that kernels can work on row ranges without a new view
 * per call. They reach to the end of the matrix: kernels take their row count separately.
 */
export class RowViews {
  private readonly matrix: Float32Array;
  private readonly cols: number;
  private readonly views: (Float32Array | undefined)[] = [];

  constructor(matrix: Float32Array, cols: number) {
    this.matrix = matrix;
    this.cols = cols;
  }

  /** The matrix from `row` on. */
  from(row: number): Float32Array {
    const known = this.views[row];
    if (known !== undefined) return known;
    const view = this.matrix.subarray(row * this.cols);
    while (this.views.length < row) this.views.push(undefined);
    this.views[row] = view;
    return view;
  }
}
