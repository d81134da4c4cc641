/** How weights are stored: IEEE float32, bfloat16, or FP8 E4M3 (finite, NaN = 0x7f and 0xff). */
export type WeightFormat = 'f32' | 'bf16' | 'e4m3fn';

/** A weight matrix as a checkpoint holds it: `[rows, cols]` = `[out, in]`, row-major. */
export interface WeightData {
  readonly format: WeightFormat;
  /** Output features. */
  readonly rows: number;
  /** Input features. */
  readonly cols: number;
  /** `Float32Array` for f32, bfloat16 bits in a `Uint16Array` for bf16, codes in a `Uint8Array` for e4m3fn. */
  readonly data: Float32Array | Uint16Array | Uint8Array;
  /** e4m3fn only: `[ceil(rows / 128), ceil(cols / 128)]`, value = decode(code) * scale. Default: all 1. */
  readonly scales?: Float32Array;
}

/** How {@link Kernels.pack} lays a weight out. */
export interface PackOptions {
  /**
   * `panels` (default) is the fastest order and serves whole-matrix products only; `rows` keeps the row-major order
   * that row ranges and transposed products need.
   */
  readonly layout?: 'panels' | 'rows';
}

/** Row range, strides and accumulation of a product with a packed weight. Strides count elements. */
export interface LinearOptions {
  /** First weight row, default 0; other values need layout `rows`. */
  readonly rowStart?: number;
  /** Number of weight rows, default all from `rowStart`. */
  readonly rowCount?: number;
  /** Elements between consecutive input rows; default: the length of one row. */
  readonly xStride?: number;
  /** Elements between consecutive output rows; default: the length of one row. */
  readonly outStride?: number;
  /** Add to `out` instead of overwriting it. */
  readonly accumulate?: boolean;
}

/** Format of activation scales: f32 `max(amax, 1e-4) / 448`, or that rounded up to a power of two by exponent bits. */
export type ActivationScale = 'f32' | 'powerOfTwo';

/** Options of {@link Kernels.linearW8A8}. */
export interface W8A8Options {
  /** Default `f32`. */
  readonly scale?: ActivationScale;
  /** Elements between consecutive input rows, default the weight's cols. */
  readonly xStride?: number;
  /** Elements between consecutive output rows, default the weight's rows. */
  readonly outStride?: number;
}

/** Options of {@link Kernels.quantizeActivations}. */
export interface QuantizeOptions {
  /** Default `f32`. */
  readonly scale?: ActivationScale;
  /** Elements between consecutive input rows, default k. */
  readonly xStride?: number;
}

/** Shape of {@link Kernels.gemm}: out `[m, n]` = a `[m, k]` times b. */
export interface GemmShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Elements between rows of a, default k. */
  readonly lda?: number;
  /** Elements between rows of b, default k (transposed) or n. */
  readonly ldb?: number;
  /** Elements between rows of out, default n. */
  readonly ldc?: number;
  /** Default true: b is `[n, k]`; false: b is `[k, n]`. */
  readonly transposeB?: boolean;
  /** Add to `out` instead of overwriting it. */
  readonly accumulate?: boolean;
}

/** Options of {@link Kernels.rmsNorm}. */
export interface RmsNormOptions {
  readonly epsilon: number;
  /** Elements between input rows, default cols. */
  readonly xStride?: number;
  /** Elements between output rows, default cols. */
  readonly outStride?: number;
}

/** Where the rotary dimensions of {@link Kernels.rope} lie: element `row * rowStride + head * headStride + offset + d`. */
export interface RopeShape {
  readonly rows: number;
  readonly heads: number;
  /** Rotary dimensions, even. */
  readonly dims: number;
  readonly rowStride: number;
  readonly headStride: number;
  readonly offset: number;
}

/** Options of {@link Kernels.softmax}. */
export interface SoftmaxOptions {
  /** Elements between rows, default cols. */
  readonly stride?: number;
  /** Factor on the logits before the exponential, default 1. */
  readonly scale?: number;
  /** Valid columns per row; the rest become 0. Default: all. */
  readonly lengths?: Int32Array;
}

/** Shape of {@link Kernels.latentAttention}. */
export interface LatentAttentionShape {
  readonly heads: number;
  /** Width of the compressed part of a cache row (kv_lora_rank). */
  readonly rank: number;
  readonly ropeDims: number;
  /** Cached tokens to attend to, at least 1. */
  readonly contextLength: number;
  /** Tokens per cache block. */
  readonly blockSize: number;
  /** Softmax scale. */
  readonly scale: number;
  /** First entry of this sequence in the block table, default 0. */
  readonly blockTableOffset?: number;
  /** First element of q, default 0. */
  readonly qOffset?: number;
  /** First element of out, default 0. */
  readonly outOffset?: number;
}

/** Shape of {@link Kernels.causalAttention}. Strides count elements. */
export interface CausalAttentionShape {
  /** Queries. */
  readonly m: number;
  /** Keys and values; at least start + m. */
  readonly t: number;
  readonly heads: number;
  readonly qkDims: number;
  readonly vDims: number;
  /** Position of query 0: query i sees keys 0 .. start + i. */
  readonly start: number;
  /** Softmax scale. */
  readonly scale: number;
  /** Between rows of q; default heads * qHeadStride. */
  readonly qStride?: number;
  /** Between rows of k; default heads * kHeadStride. */
  readonly kStride?: number;
  /** Between rows of v; default heads * vHeadStride. */
  readonly vStride?: number;
  /** Between rows of out; default heads * outHeadStride. */
  readonly outStride?: number;
  /** Between heads of q; default qkDims. */
  readonly qHeadStride?: number;
  /** Between heads of k; default qkDims. */
  readonly kHeadStride?: number;
  /** Between heads of v; default vDims. */
  readonly vHeadStride?: number;
  /** Between heads of out; default vDims. */
  readonly outHeadStride?: number;
}

/** Counters since the {@link Kernels} was made; tests use them to show how much work a step does. */
export interface KernelStats {
  /** Kernel calls of any kind. */
  calls: number;
  /** Sum of m over all matrix products. */
  gemmRows: number;
  /** Multiply-adds of all matrix products. */
  gemmMacs: number;
}

/** Options of the {@link Kernels} constructor. */
export interface KernelsOptions {
  /**
   * Arena view to use as working space instead of the free end of the arena; needed where the arena was attached, since
   * only its owner knows what is free. 1 MiB serves products of up to 65,536 columns and contexts of 8,192 tokens.
   */
  readonly scratch?: Uint8Array;
}
