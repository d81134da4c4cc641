export { SimulatorError, type SimulatorErrorCode } from './errors.js';
