export { causalAttention, latentAttention } from './attention.js';
export { widenBf16 } from './bf16.js';
export { add, addScaled, rmsNorm, rope, sigmoid, silu, siluMul, softmax, toBf16 } from './elementwise.js';
export { exp64 } from './exp64.js';
export { ceilPowerOfTwo, decodeBf16, decodeE4m3, encodeE4m3, roundBf16 } from './formats.js';
export { decodeFp8, encodeFp8, quantizeTiles, segmentProduct } from './fp8.js';
export { gate } from './gate.js';
export { gemm, linear, linearTransposed, linearW8A8 } from './linear.js';
export { logitStats } from './logit-stats.js';
export { quantizeActivations } from './quantize.js';
export { decodeF16, encodeBf16, encodeF16, packBf16, reduce, unpackBf16 } from './reduce.js';
export { addRowBf16, addScaledRowBf16 } from './row-sum.js';
export {
  adamW,
  crossEntropy,
  rmsNormBackward,
  rowDots,
  scaleRows,
  siluMulBackward,
  softmaxBackward,
  sumSquares,
  transpose,
} from './training.js';
