// The surface that the other packages build on, as types: the exports must be assignable to it.
import {
  Arena,
  type KernelStats,
  Kernels,
  LogitStatsKernels,
  type Weight,
  type WeightData,
  type WeightFormat,
} from '@moestack/kernels';

interface LinearOptions {
  rowStart?: number;
  rowCount?: number;
  xStride?: number;
  outStride?: number;
  accumulate?: boolean;
}
interface Memory {
  readonly buffer: ArrayBufferLike;
}
interface Handle {
  readonly memory: Memory;
  readonly byteOffset: number;
  readonly length: number;
}
interface ArenaContract {
  readonly memory: Memory;
  readonly shared: boolean;
  readonly capacityBytes: number;
  readonly usedBytes: number;
  f32(length: number): Float32Array;
  i32(length: number): Int32Array;
  u8(length: number): Uint8Array;
  u16(length: number): Uint16Array;
  u32(length: number): Uint32Array;
  mark(): number;
  release(mark: number): void;
  scope<T>(body: () => T): T;
  owns(view: ArrayBufferView): boolean;
  handle(view: ArrayBufferView): Handle;
}
type Elementwise = (x: Float32Array, out: Float32Array, n: number) => void;
type Product = (
  weight: Weight,
  x: Float32Array,
  out: Float32Array,
  m: number,
  options?: LinearOptions,
) => void;
interface KernelsContract {
  readonly arena: ArenaContract;
  readonly stats: { calls: number; gemmRows: number; gemmMacs: number };
  pack(weight: WeightData, options?: { layout?: 'panels' | 'rows' }): Weight;
  linear: Product;
  linearTransposed: Product;
  linearW8A8(
    weight: Weight,
    x: Float32Array,
    out: Float32Array,
    m: number,
    options?: { scale?: 'f32' | 'powerOfTwo'; outStride?: number },
  ): void;
  quantizeActivations(
    x: Float32Array,
    codes: Uint8Array,
    scales: Float32Array,
    m: number,
    k: number,
    options?: { scale?: 'f32' | 'powerOfTwo' },
  ): void;
  gemm(
    a: Float32Array,
    b: Float32Array,
    out: Float32Array,
    shape: {
      m: number;
      n: number;
      k: number;
      lda?: number;
      ldb?: number;
      ldc?: number;
      transposeB?: boolean;
      accumulate?: boolean;
    },
  ): void;
  rmsNorm(
    x: Float32Array,
    gain: Float32Array,
    out: Float32Array,
    rows: number,
    cols: number,
    options: { epsilon: number; xStride?: number; outStride?: number },
  ): void;
  rope(
    x: Float32Array,
    cosSin: Float32Array,
    positions: Int32Array,
    shape: {
      rows: number;
      heads: number;
      dims: number;
      rowStride: number;
      headStride: number;
      offset: number;
    },
  ): void;
  softmax(
    x: Float32Array,
    rows: number,
    cols: number,
    options?: { stride?: number; scale?: number; lengths?: Int32Array },
  ): void;
  sigmoid: Elementwise;
  silu: Elementwise;
  toBf16: Elementwise;
  siluMul(gate: Float32Array, up: Float32Array, out: Float32Array, n: number): void;
  add(x: Float32Array, y: Float32Array, out: Float32Array, n: number): void;
  addScaled(x: Float32Array, scale: number, out: Float32Array, n: number): void;
  latentAttention(
    q: Float32Array,
    cache: Float32Array,
    blockTable: Int32Array,
    out: Float32Array,
    shape: {
      heads: number;
      rank: number;
      ropeDims: number;
      contextLength: number;
      blockSize: number;
      scale: number;
      blockTableOffset?: number;
      qOffset?: number;
      outOffset?: number;
    },
  ): void;
  causalAttention(
    q: Float32Array,
    k: Float32Array,
    v: Float32Array,
    out: Float32Array,
    shape: {
      m: number;
      t: number;
      heads: number;
      qkDims: number;
      vDims: number;
      start: number;
      scale: number;
      qStride?: number;
      kStride?: number;
      vStride?: number;
      outStride?: number;
      kHeadStride?: number;
      vHeadStride?: number;
    },
  ): void;
}

export const createArena: (options: { maximumBytes: number; shared?: boolean }) => ArenaContract =
  Arena.create;
export const attachArena: (memory: Memory) => ArenaContract = Arena.attach;
export const makeKernels = (arena: Arena): KernelsContract => new Kernels(arena);
export const formats: WeightFormat[] = ['f32', 'bf16', 'e4m3fn'];
export type Stats = KernelStats extends { calls: number; gemmRows: number; gemmMacs: number } ? true : never;

interface LogitStatsContract {
  logitStats(
    observer: Float32Array | undefined,
    performer: Float32Array,
    vocabulary: number,
    token: number,
    inverseTemperature: number,
    out: Float64Array,
  ): void;
}
export const makeLogitStats = (arena: Arena): LogitStatsContract => new LogitStatsKernels(arena);
