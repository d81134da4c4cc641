export { PlacementError, type PlacementErrorCode } from './errors.js';
