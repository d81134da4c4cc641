import { writeFileSync } from 'node:fs';
import { connectMpi } from '@moestack/collectives/mpi';
import { type ExpertRoutingOptions, openRuntime, type Precision } from '../src/index.js';
import { batchOf, SIZES } from './batches.js';

/** What a rank is told, and what it reports. */
export interface MpiTask {
  readonly directory: string;
  readonly precision: Precision;
  readonly routing: Pick<ExpertRoutingOptions, 'mode' | 'payload'>;
  /** Ranks that share the attention heads, default 1. */
  readonly tensor?: number;
  /** Tokens of each group of ranks that share the heads. */
  readonly prompts: readonly number[][];
  readonly greedy: number;
  readonly report: string;
}
export interface MpiReport {
  readonly logits: number[];
  readonly greedy: number[];
}

const task = JSON.parse(process.argv[2]!) as MpiTask;
const { tensor = 1 } = task;
const communicator = connectMpi({ timeoutSeconds: 30 });
const runtime = await openRuntime(task.directory, {
  ...SIZES,
  precision: task.precision,
  parallel: { ...task.routing, communicator, tensor },
});
const prompt = Int32Array.from(task.prompts[Math.floor(communicator.rank / tensor)] ?? []);
const logits = runtime.forwardAll(batchOf(prompt));
const greedy: number[] = [];
let last = logits.slice(-runtime.limits.vocabulary);
for (let i = 0; i < task.greedy; i++) {
  const next = prompt.length === 0 ? [] : [last.indexOf(Math.max(...last))];
  greedy.push(...next);
  last = runtime
    .forward(batchOf(Int32Array.from(next), prompt.length + i))
    .slice(0, runtime.limits.vocabulary);
}
const report: MpiReport = { logits: Array.from(logits), greedy };
writeFileSync(`${task.report}-${communicator.rank}.json`, JSON.stringify(report));
await runtime.close();
communicator.close();
