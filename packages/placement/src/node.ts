export { type RebalanceInWorkerOptions, rebalanceInWorker } from './rebalance-in-worker.js';
