import type { Communicator, WaitOptions } from '@moestack/collectives';
import type { ModelRuntime } from '@moestack/model';
import { decodeError, encodeError } from '@moestack/schemas/errors';
import type { ServingError } from '../errors.js';
import { type FromProcess, ProcessLink, type ToProcess } from './process-messages.js';
import type { FromWorker, PlacedLogprobs, RankSetup, ToWorker } from './protocol.js';
import { openRank, type Rank, type RankPlace } from './rank-thread.js';
import type { LoadProgress, StageChannel } from './stage-worker.js';
import { StepBuffer, type StepBufferShape } from './step-buffer.js';

/** What every process of a group is started with. */
export interface ProcessOptions {
  readonly name: string;
  readonly place: RankPlace;
  readonly setup: Omit<RankSetup, 'group'>;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/**
 * A stage whose ranks are processes: this one, and those that {@link followProcess} runs in. It posts what they need ahead of each step; this process runs its
 * part between the turns of its event loop.
 */
export class ProcessGroup implements StageChannel {
  readonly name: string;
  readonly stepShape: StepBufferShape;
  readonly weightBytes: number;
  readonly blockBytes: number;
  readonly ranks: number;
  readonly #control: Communicator;
  readonly #runtime: ModelRuntime;
  readonly #rank: Rank;
  readonly #links: readonly ProcessLink[];
  readonly #outboxes: ToProcess[][];
  readonly #buffers: StepBuffer[] = [];
  #last: Promise<void> = Promise.resolve();
  #answer: FromWorker | undefined;
  #onMessage: (message: FromWorker) => void = () => undefined;
  #isClosed = false;

  private constructor(
    options: ProcessOptions,
    control: Communicator,
    opened: { rank: Rank; runtime: ModelRuntime },
    answer: { listener: (message: FromWorker) => void },
  ) {
    this.name = options.name;
    this.stepShape = options.setup.stepShape;
    this.ranks = control.size;
    this.#control = control;
    this.#runtime = opened.runtime;
    this.#rank = opened.rank;
    this.weightBytes = opened.runtime.weightBytes;
    this.blockBytes = opened.runtime.blockBytes;
    answer.listener = (message) => {
      this.#answer = message;
    };
    const { stepTimeoutSeconds } = options.setup;
    this.#links = others(control).map((peer) => new ProcessLink(control, peer, stepTimeoutSeconds));
    this.#outboxes = this.#links.map(() => []);
  }

  /** Loads this process's share; resolves when all processes have theirs. */
  static async start(options: ProcessOptions): Promise<ProcessGroup> {
    const answer = { listener: progressOf(options) };
    const opened = await openRank(options.setup, options.place, (message) => answer.listener(message));
    const control = await options.place.communicator.dup(waitOf(options));
    return new ProcessGroup(options, control, opened, answer);
  }

  post(message: ToWorker): void {
    switch (message.type) {
      case 'buffer':
        this.#buffers.push(new StepBuffer(message.shared, this.stepShape));
        this.#rank.receive(message);
        for (const outbox of this.#outboxes) outbox.push({ type: 'buffer' });
        break;
      case 'step':
        this.#step(message.buffer, message.isTraced);
        break;
    }
  }

  postTo(rank: number, message: ToWorker): void {
    if (message.type !== 'tokens' && message.type !== 'release') return;
    if (rank === 0) this.#rank.receive(message);
    else this.#outboxes[rank - 1]!.push(message);
  }

  /** There is no crash to tell of: the process manager ends the job when a rank dies. */
  listen(onMessage: (message: FromWorker) => void, _onCrash: (error: ServingError) => void): void {
    this.#onMessage = onMessage;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#last;
    for (const [i, link] of this.#links.entries()) link.send([...this.#outboxes[i]!, { type: 'end' }]);
    await this.#runtime.close();
    for (const link of this.#links) link.close();
    this.#control.close();
  }

  /** Runs after the call that posted it, and after the step before it. What comes later belongs to a later step. */
  #step(buffer: number, isTraced = false): void {
    const bytes = new Uint8Array(this.#buffers[buffer]!.shared).slice();
    const messages = this.#outboxes.map((outbox) => [
      ...outbox.splice(0),
      { type: 'step', buffer, bytes } as const,
    ]);
    this.#last = this.#last.then(async () => {
      await new Promise(setImmediate);
      this.#run(buffer, isTraced, messages);
    });
  }

  #run(buffer: number, isTraced: boolean, messages: readonly (readonly ToProcess[])[]): void {
    try {
      for (const [i, link] of this.#links.entries()) link.send(messages[i]);
      this.#rank.receive({ type: 'step', buffer, isTraced });
      const logprobs: PlacedLogprobs[] = [];
      if (this.#answer?.type === 'failed') throw decodeError(this.#answer.error);
      const phases = this.#answer?.type === 'stepped' ? this.#answer.phases : undefined;
      if (this.#answer?.type === 'stepped') logprobs.push(...(this.#answer.logprobs ?? []));
      for (const link of this.#links) this.#take(buffer, link.receive<FromProcess>(), logprobs);
      this.#onMessage({
        type: 'stepped',
        buffer,
        ...(logprobs.length > 0 && { logprobs }),
        ...(phases && { phases }),
      });
    } catch (error) {
      this.#onMessage({ type: 'failed', buffer: -1, error: encodeError(error) });
    }
  }

  #take(buffer: number, answer: FromProcess, logprobs: PlacedLogprobs[]): void {
    if (answer.error !== undefined) throw decodeError(answer.error);
    const step = this.#buffers[buffer]!;
    for (const [i, place] of answer.places.entries()) {
      step.tokens[place] = answer.tokens[i]!;
      step.finished[place] = answer.finished[i]!;
    }
    logprobs.push(...(answer.logprobs ?? []));
  }
}

/** Runs this process's part of a group whose first process has the {@link ProcessGroup}. Resolves when that one closes. */
export async function followProcess(options: ProcessOptions): Promise<void> {
  let answer: FromWorker | undefined;
  let post = progressOf(options);
  const { rank, runtime } = await openRank(options.setup, options.place, (message) => post(message));
  post = (message) => {
    answer = message;
  };
  const control = await options.place.communicator.dup(waitOf(options));
  const link = new ProcessLink(control, 0, options.setup.stepTimeoutSeconds);
  const buffers: StepBuffer[] = [];
  for (;;) {
    for (const message of await link.next<ToProcess[]>()) {
      if (message.type === 'end') {
        await runtime.close();
        link.close();
        control.close();
        return;
      }
      if (message.type === 'buffer') {
        const buffer = StepBuffer.create(options.setup.stepShape);
        buffers.push(buffer);
        rank.receive({ type: 'buffer', shared: buffer.shared });
      } else if (message.type === 'step') {
        const buffer = buffers[message.buffer]!;
        new Uint8Array(buffer.shared).set(message.bytes);
        rank.receive({ type: 'step', buffer: message.buffer });
        link.send(answerOf(buffer, answer));
      } else {
        rank.receive(message);
      }
    }
  }
}

/** The outcomes of those sequences of a step that this rank ran. */
function answerOf(step: StepBuffer, message: FromWorker | undefined): FromProcess {
  const places: number[] = [];
  for (let place = 0; place < step.sequences; place++) if (step.tokens[place]! >= 0) places.push(place);
  return {
    places: Int32Array.from(places),
    tokens: Int32Array.from(places, (place) => step.tokens[place]!),
    finished: Uint8Array.from(places, (place) => step.finished[place]!),
    logprobs: message?.type === 'stepped' ? message.logprobs : undefined,
    error: message?.type === 'failed' ? message.error : undefined,
  };
}

function others({ rank, size }: Communicator): number[] {
  return Array.from({ length: size }, (_, peer) => peer).filter((peer) => peer !== rank);
}

function progressOf({ onProgress }: ProcessOptions): (message: FromWorker) => void {
  return (message) => {
    if (message.type === 'progress') onProgress?.(message);
  };
}

function waitOf({ setup }: ProcessOptions): WaitOptions {
  return { timeoutSeconds: setup.stepTimeoutSeconds };
}
