export { DetectError, type DetectErrorCode } from './errors.js';
