export { CollectivesError, type CollectivesErrorCode } from './errors.js';
