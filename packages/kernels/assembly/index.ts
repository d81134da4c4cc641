export { causalAttention, causalScratchBytes, latentAttention, latentScratchBytes } from './attention';
export { add, addScaled, rmsNorm, rope, sigmoid, silu, siluMul, softmax, toBf16 } from './elementwise';
export { linear, linearScratchBytes } from './linear';
export { anyE4m3Nan, packPanels } from './panels';
export { quantizeActivations } from './quantize';
export { linearTransposed, transposedScratchBytes } from './transposed';
export { decodeFp8, encodeFp8, encodeTiles, tileAmax, tileScales } from './fp8-convert';
export { packBytes, packTiles, segmentProduct } from './fp8-matmul';
export { widenBf16 } from './widen';
