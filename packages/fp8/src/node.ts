export type { ByteSource } from './byte-source.js';
export type { ConversionTarget } from './conversion-plan.js';
export { type ConvertOptions, type ConvertResult, convertCheckpoint } from './convert-checkpoint.js';
export { CheckpointError, Fp8Error } from './errors.js';
export { fileSource } from './file-source.js';
export { type InspectDirectoryOptions, inspectCheckpoint } from './inspect-directory.js';
export { openCheckpoint } from './open-directory.js';
export type { Checkpoint, TensorInfo } from './safetensors-checkpoint.js';
