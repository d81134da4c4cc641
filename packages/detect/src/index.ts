export * from './attacks/index.js';
export * from './audit/index.js';
export * from './embedded-model/index.js';
export { DetectError, type DetectErrorCode } from './errors.js';
export * from './evaluation/index.js';
export * from './language-model/index.js';
export * from './scores/index.js';
export * from './spans/index.js';
