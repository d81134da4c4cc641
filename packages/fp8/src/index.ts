export {
  type AccumulationError,
  type AccumulationStudyOptions,
  accumulationError,
  type Distribution,
  distributions,
} from './accumulation-study.js';
export { type ByteSource, memorySource } from './byte-source.js';
export { openCheckpoint } from './checkpoint.js';
export type { CheckpointQuantization } from './checkpoint-index.js';
export { type DecodeOptions, decode, decodeTable } from './decode.js';
export { DelayedScaling, type DelayedScalingOptions } from './delayed-scaling.js';
export { type EncodeOptions, encode } from './encode.js';
export type { Overflow, Preset, Rounding } from './encode-policy.js';
export { CheckpointError, Fp8Error } from './errors.js';
export { fmaFloat32 } from './fma.js';
export {
  type Codes,
  defineFormat,
  type Format,
  type FormatDefinition,
  type FormatName,
  type FormatSpec,
  formats,
  type SpecialCodes,
} from './format-spec.js';
export { type BackwardOptions, Fp8Linear, type Fp8LinearOptions } from './fp8-linear.js';
export { type InspectOptions, type InspectSettings, inspectCheckpoint } from './inspect-checkpoint.js';
export { inspectionHtml } from './inspection-html.js';
export { inspectionTable } from './inspection-table.js';
export {
  type LinearGradient,
  type LinearInput,
  type LinearOptions,
  type LinearScaling,
  type LinearWeight,
  linearDgrad,
  linearForward,
  linearScaling,
  linearWgrad,
  type PrepareOptions,
  prepareGradient,
  prepareInput,
  prepareWeight,
  wgradInput,
} from './linear.js';
export { KeptInput, type LinearMatrix, matrixValues } from './linear-matrix.js';
export { type MatmulOptions, matmul } from './matmul.js';
export { type MmaSpec, mma } from './mma.js';
export { packNibbles, packPairs, unpackNibbles, unpackPairs } from './pack.js';
export type { ProductOptions } from './product.js';
export { dequantize, type QuantizeOptions, quantize, requantize, transposeQuantized } from './quantize.js';
export {
  type LinearRole,
  type OperandRecipe,
  type Recipe,
  type RecipeName,
  type RecipeOverrides,
  recipe,
} from './recipe.js';
export type { Checkpoint, TensorInfo } from './safetensors-checkpoint.js';
export type { SafetensorsDtype } from './safetensors-dtype.js';
export { serializeSafetensors, type TensorDescription } from './safetensors-writer.js';
export type { QuantizedTensor, ScaleFormat, Scheme } from './scheme.js';
export { SeededNumbers } from './seeded-numbers.js';
export type { Architecture } from './tensor-core.js';
