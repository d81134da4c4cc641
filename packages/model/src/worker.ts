import { workerData } from 'node:worker_threads';
import { runRank } from './rank-thread.js';

await runRank((workerData as { data: Parameters<typeof runRank>[0] }).data);
