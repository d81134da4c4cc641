import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { AbortedError, decodeError, type EncodedError, TimeoutError } from '@moestack/schemas/errors';
import { PlacementError } from './errors.js';
import type { RebalanceOptions } from './rebalance.js';
import type { Deployment, Load, Plan } from './types.js';

/** What the worker is started with. */
export interface PlannerJob {
  readonly load: Load;
  readonly deployment: Deployment;
  readonly options: RebalanceOptions;
}

/** What the worker answers. */
export type PlannerReply = { readonly plan: Plan } | { readonly error: EncodedError };

/** Options of {@link rebalanceInWorker}. */
export interface RebalanceInWorkerOptions extends RebalanceOptions {
  signal?: AbortSignal;
  /** Default 60. */
  timeoutSeconds?: number;
}

/**
 * `rebalance` in a thread of its own, so that planning never holds up the event loop of a server. The inputs are
 * copied; the thread ends with the plan, the abort or the timeout.
 *
 * @throws what `rebalance` throws, AbortedError, TimeoutError, or PlacementError `placement/worker-failed`.
 */
export async function rebalanceInWorker(
  load: Load,
  deployment: Deployment,
  options: RebalanceInWorkerOptions = {},
): Promise<Plan> {
  const { signal, timeoutSeconds = 60, ...rest } = options;
  if (signal?.aborted) throw new AbortedError('planning', signal.reason);
  const workerData: PlannerJob = { load, deployment, options: rest };
  // Without execArgv the worker would take over conditions and loaders of the process, which its build does not need.
  const worker = new Worker(workerFile(), { name: 'moestack-planner', workerData, execArgv: [] });
  let onAbort: (() => void) | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    const reply = await new Promise<PlannerReply>((resolve, reject) => {
      onAbort = () => reject(new AbortedError('planning', signal?.reason));
      signal?.addEventListener('abort', onAbort, { once: true });
      timer = setTimeout(() => reject(new TimeoutError('planning', timeoutSeconds)), timeoutSeconds * 1000);
      worker.once('message', resolve);
      worker.once('error', (cause) => reject(workerFailed(cause.message, cause)));
      worker.once('exit', (code) => reject(workerFailed(`it ended with exit code ${code}`)));
    });
    if ('error' in reply) throw revive(reply.error);
    return reply.plan;
  } finally {
    clearTimeout(timer);
    if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort);
    await worker.terminate();
  }
}

/** Errors of this package keep their class across the thread. */
function revive(encoded: EncodedError): Error {
  const error = decodeError(encoded);
  if (!error.code.startsWith('placement/')) return error;
  const { message, value, remedy } = error;
  return new PlacementError({ code: error.code as PlacementError['code'] as never, message, value, remedy });
}

function workerFile(): string {
  try {
    return createRequire(import.meta.url).resolve('@moestack/placement/planner-worker');
  } catch (cause) {
    throw workerFailed('its file is not there', cause, 'install the package as published, or build it');
  }
}

function workerFailed(what: string, cause?: unknown, remedy?: string): PlacementError {
  return new PlacementError({
    code: 'placement/worker-failed',
    message: `the planner thread failed: ${what}`,
    remedy: remedy ?? 'plan fewer layers at a time, or give the process more memory',
    cause,
  });
}
