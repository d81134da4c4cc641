import { parentPort, workerData } from 'node:worker_threads';
import { encodeError } from '@moestack/schemas/errors';
import { rebalance } from './rebalance.js';
import type { PlannerJob, PlannerReply } from './rebalance-in-worker.js';

const { load, deployment, options } = workerData as PlannerJob;
let reply: PlannerReply;
try {
  reply = { plan: rebalance(load, deployment, options) };
} catch (error) {
  reply = { error: encodeError(error) };
}
parentPort?.postMessage(reply);
