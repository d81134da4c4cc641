import { encodeError } from '@moestack/schemas/errors';
import type { FromWorker, ToWorker } from '../src/embedded/protocol.js';
import { StageRunner, type StageRuntime } from '../src/embedded/stage-runner.js';
import type { StageChannel } from '../src/embedded/stage-worker.js';
import { StepBuffer, type StepBufferShape } from '../src/embedded/step-buffer.js';
import type { ServingError } from '../src/errors.js';

/** A rank without a thread: answers in later turns of the event loop, or when told to. */
export class LoopbackChannel implements StageChannel {
  readonly name: string;
  readonly stepShape: StepBufferShape;
  readonly weightBytes = 0;
  readonly ranks = 1;
  readonly blockBytes = 16;
  /** Set to make the next step fail. */
  failNext: Error | undefined;
  /** While true, steps wait. */
  held = false;
  readonly live = new Set<number>();
  readonly #runner: StageRunner;
  readonly #buffers: StepBuffer[] = [];
  readonly #waiting: (() => void)[] = [];
  #onMessage: (message: FromWorker) => void = () => undefined;
  #onCrash: (error: ServingError) => void = () => undefined;

  constructor(name: string, runtime: StageRuntime, stepShape: StepBufferShape) {
    this.name = name;
    this.stepShape = stepShape;
    this.#runner = new StageRunner(runtime, [0]);
  }

  listen(onMessage: (message: FromWorker) => void, onCrash: (error: ServingError) => void): void {
    this.#onMessage = onMessage;
    this.#onCrash = onCrash;
  }

  postTo(_rank: number, message: ToWorker): void {
    this.post(message);
  }

  post(message: ToWorker): void {
    if (message.type === 'buffer') this.#buffers.push(new StepBuffer(message.shared, this.stepShape));
    if (message.type === 'tokens') {
      this.live.add(message.id);
      this.#runner.tokens(message.id, message.from, message.tokens, message.setup);
    }
    if (message.type === 'release') {
      this.live.delete(message.id);
      this.#later(() => this.#runner.release(message.id));
    }
    if (message.type === 'step') this.#later(() => this.#step(message.buffer));
    if (message.type === 'import') {
      setImmediate(() => this.#onMessage({ type: 'imported', buffer: message.buffer, bytes: 16 }));
    }
  }

  /** Lets held steps go. */
  release(): void {
    this.held = false;
    for (const run of this.#waiting.splice(0)) setImmediate(run);
  }

  crash(error: ServingError): void {
    this.#onCrash(error);
  }

  async close(): Promise<void> {}

  #later(run: () => void): void {
    if (this.held) this.#waiting.push(run);
    else setImmediate(run);
  }

  #step(buffer: number): void {
    const failure = this.failNext;
    this.failNext = undefined;
    if (failure !== undefined) {
      this.#onMessage({ type: 'failed', buffer, error: encodeError(failure) });
      return;
    }
    const logprobs = this.#runner.run(this.#buffers[buffer]!);
    this.#onMessage({ type: 'stepped', buffer, ...(logprobs && { logprobs }) });
  }
}
