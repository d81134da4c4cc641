export { type AttachOptions, attachWorkerCommunicator, attachWorkerTransport } from './attach.js';
export {
  type LaunchOptions,
  launchWorkers,
  type WorkerExit,
  type WorkerGroup,
  watchWorker,
} from './launch.js';
export { type WorkerHandle, WorkerWorld, type WorkerWorldOptions } from './world.js';
