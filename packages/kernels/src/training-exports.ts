/** Exports of `assembly/training.ts`; addresses and strides in bytes. */
export interface TrainingExports {
  adamW(
    w: number,
    g: number,
    m: number,
    v: number,
    n: number,
    scale: number,
    beta1: number,
    beta2: number,
    correction1: number,
    correction2: number,
    epsilon: number,
    rate: number,
    keep: number,
  ): void;
  crossEntropy(x: number, targets: number, rows: number, cols: number, scale: number, sums: number): void;
  rmsNormBackward(
    x: number,
    xStride: number,
    gain: number,
    dy: number,
    dx: number,
    dxStride: number,
    dgain: number,
    rows: number,
    cols: number,
    epsilon: number,
    accumulate: number,
  ): void;
  rowDots(x: number, y: number, out: number, rows: number, cols: number): void;
  scaleRows(x: number, factors: number, rows: number, cols: number): void;
  siluMulBackward(gate: number, up: number, gradient: number, n: number): void;
  softmaxBackward(p: number, gradient: number, rows: number, cols: number, scale: number): void;
  sumSquares64(x: number, n: number): number;
  transposeRows(x: number, xStride: number, rows: number, cols: number, out: number): void;
}
