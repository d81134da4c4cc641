/** Exports of `assembly/fp8-convert.ts` and `assembly/fp8-matmul.ts`; addresses and strides in bytes. */
export interface Fp8Exports {
  decodeFp8(format: number, codes: number, n: number, out: number): void;
  encodeFp8(format: number, x: number, n: number, out: number): void;
  encodeTiles(
    format: number,
    x: number,
    rows: number,
    cols: number,
    tileRows: number,
    tileCols: number,
    factors: number,
    multiply: number,
    out: number,
  ): void;
  packBytes(
    src: number,
    rowStride: number,
    kStride: number,
    rows: number,
    k: number,
    table: number,
    dst: number,
    width: number,
  ): void;
  packTiles(
    kind: number,
    src: number,
    rowStride: number,
    kStride: number,
    rows: number,
    k: number,
    table: number,
    dst: number,
    width: number,
  ): void;
  segmentProduct(
    a: number,
    aExponents: number,
    b: number,
    bExponents: number,
    m: number,
    n: number,
    k: number,
    starts: number,
    segments: number,
    aScales: number,
    bScales: number,
    promotion: number,
    fused: number,
    wide: number,
    aShifts: number,
    bShifts: number,
    c: number,
    cStride: number,
    scratch: number,
  ): void;
  tileAmax(x: number, rows: number, cols: number, tileRows: number, tileCols: number, amax: number): void;
  tileScales(
    amax: number,
    n: number,
    top: number,
    floor: number,
    rule: number,
    reciprocal: number,
    scales: number,
    factors: number,
  ): void;
}
