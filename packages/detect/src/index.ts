export { DetectError, type DetectErrorCode } from './errors.js';
export * from './scores/index.js';
