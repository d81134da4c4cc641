export { causalAttention, latentAttention } from './attention.js';
export { add, addScaled, rmsNorm, rope, sigmoid, silu, siluMul, softmax, toBf16 } from './elementwise.js';
export { ceilPowerOfTwo, decodeBf16, decodeE4m3, encodeE4m3, roundBf16 } from './formats.js';
export { gemm, linear, linearTransposed, linearW8A8 } from './linear.js';
export { logitStats } from './logit-stats.js';
export { quantizeActivations } from './quantize.js';
