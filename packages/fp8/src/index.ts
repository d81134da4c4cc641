export { type ByteSource, memorySource } from './byte-source.js';
export { openCheckpoint } from './checkpoint.js';
export type { CheckpointQuantization } from './checkpoint-index.js';
export { type DecodeOptions, decode, decodeTable } from './decode.js';
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
export { type InspectOptions, type InspectSettings, inspectCheckpoint } from './inspect-checkpoint.js';
export { inspectionHtml } from './inspection-html.js';
export { inspectionTable } from './inspection-table.js';
export { type MatmulOptions, matmul } from './matmul.js';
export { type MmaSpec, mma } from './mma.js';
export { packNibbles, unpackNibbles } from './pack.js';
export { dequantize, quantize, requantize } from './quantize.js';
export type { Checkpoint, TensorInfo } from './safetensors-checkpoint.js';
export type { SafetensorsDtype } from './safetensors-dtype.js';
export { serializeSafetensors, type TensorDescription } from './safetensors-writer.js';
export type { QuantizedTensor, ScaleFormat, Scheme } from './scheme.js';
export type { Architecture } from './tensor-core.js';
