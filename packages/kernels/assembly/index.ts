export { causalAttention, causalScratchBytes, latentAttention, latentScratchBytes } from './attention';
export { add, addScaled, rmsNorm, rope, sigmoid, silu, siluMul, softmax, toBf16 } from './elementwise';
export { linear, linearScratchBytes } from './linear';
export { anyE4m3Nan, packPanels } from './panels';
export { quantizeActivations } from './quantize';
export { linearTransposed, transposedScratchBytes } from './transposed';
export { copyBytes, packBf16, reduce, unpackBf16 } from './reduce';
export { addRowBf16, addScaledRowBf16 } from './row-sum';
export { exp64, gate, gateScratchBytes } from './gate';
