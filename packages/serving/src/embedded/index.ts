export { createEmbeddedBackend } from './create-embedded-backend.js';
export type { EmbeddedBackend, EmbeddedOptions } from './options.js';
export type { LoadProgress } from './stage-worker.js';
