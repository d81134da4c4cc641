export { Arena, type ArenaHandle, type ArenaOptions, type ArenaViews, MAXIMUM_ARENA_BYTES } from './arena.js';
export { AttentionKernels } from './attention-kernels.js';
export { Bf16Kernels } from './bf16-kernels.js';
export { ElementwiseKernels } from './elementwise-kernels.js';
export { KernelsError, OutOfMemoryError } from './errors.js';
export {
  type Fp8ElementFormat,
  Fp8Kernels,
  MAXIMUM_TILED_COLUMNS,
  type QuantizeTilesOptions,
} from './fp8-kernels.js';
export type { ProductOperand, SegmentProductOptions } from './fp8-product.js';
export { MAXIMUM_SEGMENT } from './fp8-product-checks.js';
export { GateKernels, type GateOutput, type GateShape } from './gate-kernels.js';
export { Kernels } from './kernels.js';
export { KernelsBase } from './kernels-base.js';
export { type LogitStatsExports, LogitStatsKernels } from './logit-stats-kernels.js';
export { LOGIT_STATS_LENGTH } from './logit-stats-layout.js';
export { type PackedBytes, packedBytes, packedLike, packedWithNan } from './packed-bytes.js';
export { type ReduceElements, ReduceKernels } from './reduce-kernels.js';
export { exp64 } from './reference/exp64.js';
export * as reference from './reference/index.js';
export type { ReduceDtype, ReduceOperation } from './reference/reduce.js';
export { RowSumKernel, RowSumKernels } from './row-sum-kernels.js';
export { type AdamWStep, type RmsNormBackwardOptions, TrainingKernels } from './training-kernels.js';
export type {
  ActivationScale,
  CausalAttentionShape,
  GemmShape,
  KernelStats,
  KernelsOptions,
  LatentAttentionShape,
  LinearOptions,
  PackOptions,
  QuantizeOptions,
  RmsNormOptions,
  RopeShape,
  SoftmaxOptions,
  W8A8Options,
  WeightData,
  WeightFormat,
} from './types.js';
export type { WasmMemory } from './web-assembly.js';
export type { Weight } from './weight.js';
