export type { ByteSource } from './byte-source.js';
export { CheckpointError } from './errors.js';
export { fileSource } from './file-source.js';
export { openCheckpoint } from './open-directory.js';
export type { Checkpoint, TensorInfo } from './safetensors-checkpoint.js';
