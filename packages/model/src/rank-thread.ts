import { parentPort } from 'node:worker_threads';
import { attachWorkerCommunicator } from '@moestack/collectives/worker';
import { encodeError } from '@moestack/schemas/errors';
import { openRuntime } from './open-runtime.js';
import type { FromRank, RankSetup, ToRank } from './rank-protocol.js';
import type { ModelRuntime } from './runtime.js';
import { sequenceBatch } from './sequence-engine.js';
import type { StepBatch } from './step-batch.js';

/** A rank that fails ends its thread, which the others see at once; this is for one that is merely slow. */
const STEP_SECONDS = 120;

/** Loads this thread's share of a model and runs the steps it is sent, for one sequence. */
export async function runRank(setup: RankSetup): Promise<void> {
  const port = parentPort!;
  const post = (message: FromRank, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);
  const communicator = attachWorkerCommunicator({ timeoutSeconds: STEP_SECONDS });
  try {
    const runtime = await openRuntime(setup.path, {
      ...setup.runtime,
      parallel: { ...setup.routing, communicator },
      onProgress: (progress) => post({ type: 'progress', ...progress }),
    });
    const batch = sequenceBatch(runtime);
    port.on('message', async (message: ToRank) => {
      if (message.type === 'close') {
        await runtime.close();
        communicator.close();
        port.close();
        return;
      }
      try {
        const logits = step(runtime, batch, message);
        post({ type: 'stepped', logits }, [logits.buffer]);
      } catch (error) {
        post({ type: 'failed', error: encodeError(error) });
      }
    });
    post({ type: 'ready' });
  } catch (error) {
    post({ type: 'failed', error: encodeError(error) });
  }
}

function step(
  runtime: ModelRuntime,
  batch: StepBatch,
  message: Extract<ToRank, { type: 'step' }>,
): Float32Array<ArrayBuffer> {
  const count = message.tokens.length;
  batch.sequences = count === 0 ? 0 : 1;
  batch.tokens.set(message.tokens);
  batch.tokenOffsets[1] = count;
  batch.contextStarts[0] = message.start;
  const logits = message.all ? runtime.forwardAll(batch) : runtime.forward(batch);
  const rows = count === 0 ? 0 : message.all ? count : 1;
  return logits.slice(0, rows * runtime.limits.vocabulary);
}
