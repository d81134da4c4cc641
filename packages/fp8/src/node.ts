export { fileSource } from './file-source.js';
export { openCheckpoint } from './open-directory.js';
