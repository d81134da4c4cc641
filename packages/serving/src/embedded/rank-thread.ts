import type { MessagePort } from 'node:worker_threads';
import { type ModelRuntime, openRuntime } from '@moestack/model';
import { encodeError } from '@moestack/schemas/errors';
import { BlockLink } from './block-link.js';
import type { FromWorker, RankSetup, ToWorker } from './protocol.js';
import { StageRunner } from './stage-runner.js';
import { StepBuffer } from './step-buffer.js';

/** Loads a model and runs the steps it is sent. */
export async function runRank(setup: RankSetup, port: MessagePort): Promise<void> {
  const post = (message: FromWorker) => port.postMessage(message);
  try {
    const runtime = await openRuntime(setup.directory, {
      ...setup.runtime,
      onProgress: (progress) => post({ type: 'progress', ...progress }),
    });
    const rank = new Rank(runtime, setup, post);
    port.on('message', (message: ToWorker) => rank.receive(message));
    post({ type: 'ready', weightBytes: runtime.weightBytes, blockBytes: runtime.blockBytes });
  } catch (error) {
    post({ type: 'failed', buffer: -1, error: encodeError(error) });
  }
}

class Rank {
  readonly #runtime: ModelRuntime;
  readonly #setup: RankSetup;
  readonly #post: (message: FromWorker) => void;
  readonly #runner: StageRunner;
  readonly #buffers: StepBuffer[] = [];
  #link: BlockLink | undefined;

  constructor(runtime: ModelRuntime, setup: RankSetup, post: (message: FromWorker) => void) {
    this.#runtime = runtime;
    this.#setup = setup;
    this.#post = post;
    this.#runner = new StageRunner(runtime, setup.eosIds);
  }

  receive(message: ToWorker): void {
    try {
      this.#handle(message);
    } catch (error) {
      // An export that fails leaves the other rank waiting, so it counts as a failure of the worker.
      const buffer = message.type === 'step' || message.type === 'import' ? message.buffer : -1;
      this.#post({ type: 'failed', buffer, error: encodeError(error) });
    }
  }

  #handle(message: ToWorker): void {
    switch (message.type) {
      case 'tokens':
        this.#runner.tokens(message.id, message.from, message.tokens, message.setup);
        break;
      case 'release':
        this.#runner.release(message.id);
        break;
      case 'buffer':
        this.#buffers.push(new StepBuffer(message.shared, this.#setup.stepShape));
        break;
      case 'step':
        this.#step(message.buffer);
        break;
      case 'link':
        this.#link = new BlockLink(this.#runtime, message.port);
        break;
      case 'export':
        this.#link?.send(message.transfer, message.blocks);
        break;
      case 'import':
        this.#import(message.transfer, message.buffer);
        break;
    }
  }

  #step(buffer: number): void {
    const logprobs = this.#runner.run(this.#buffers[buffer]!);
    this.#post({ type: 'stepped', buffer, ...(logprobs && { logprobs }) });
  }

  #import(transfer: number, buffer: number): void {
    const blocks = blocksOf(this.#buffers[buffer]!);
    this.#link?.receive(transfer, blocks, (bytes, error) => {
      if (error === undefined) this.#post({ type: 'imported', buffer, bytes });
      else this.#post({ type: 'failed', buffer, error: encodeError(error) });
    });
  }
}

/** All blocks of a step, sequence after sequence. */
function blocksOf(step: StepBuffer): Int32Array {
  let total = 0;
  for (let i = 0; i < step.sequences; i++) total += step.blockCounts[i]!;
  const blocks = new Int32Array(total);
  let length = 0;
  for (let i = 0; i < step.sequences; i++) {
    const row = i * step.blockTableStride;
    for (let b = 0; b < step.blockCounts[i]!; b++) blocks[length++] = step.blockTables[row + b]!;
  }
  return blocks;
}
