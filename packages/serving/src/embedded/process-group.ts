import type { Communicator, WaitOptions } from '@moestack/collectives';
import type { ModelRuntime } from '@moestack/model';
import { decodeError, encodeError } from '@moestack/schemas/errors';
import type { ServingError } from '../errors.js';
import { type FromProcess, ProcessLink, type StepAnswer, type ToProcess } from './process-messages.js';
import type { FromWorker, PlacedLogprobs, RankSetup, ToWorker } from './protocol.js';
import { openRank, type Rank, type RankPlace } from './rank-thread.js';
import type { ExpertListener } from './stage-group.js';
import type { LoadProgress, StageChannel } from './stage-worker.js';
import { StepBuffer, type StepBufferShape } from './step-buffer.js';

/** How often processes are asked for what they have yet to report. */
const REPORT_MILLISECONDS = 5;

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
  readonly copies: number;
  /** Processes of the stage. */
  readonly threads: number;
  readonly #control: Communicator;
  readonly #runtime: ModelRuntime;
  readonly #rank: Rank;
  readonly #links: readonly ProcessLink[];
  /** What goes to this process's own rank, and to each of the others, with the next step: none learns ahead of a step what came after it. */
  readonly #inbox: ToWorker[] = [];
  readonly #outboxes: ToProcess[][];
  readonly #buffers: StepBuffer[] = [];
  #last: Promise<void> = Promise.resolve();
  readonly #answers: RankAnswers;
  /** Reports on experts that other processes have been asked for. */
  #awaited = 0;
  #onMessage: (message: FromWorker) => void = () => undefined;
  #onRank: ExpertListener = () => undefined;
  #isClosed = false;

  private constructor(
    options: ProcessOptions,
    control: Communicator,
    opened: { rank: Rank; runtime: ModelRuntime },
    answers: RankAnswers,
  ) {
    this.name = options.name;
    this.stepShape = options.setup.stepShape;
    this.threads = control.size;
    this.copies = options.place.tensor;
    this.ranks = this.threads / this.copies;
    this.#answers = answers;
    answers.onReport = (report) => this.#report(0, report);
    this.#control = control;
    this.#runtime = opened.runtime;
    this.#rank = opened.rank;
    this.weightBytes = opened.runtime.weightBytes;
    this.blockBytes = opened.runtime.blockBytes;
    const { stepTimeoutSeconds } = options.setup;
    this.#links = others(control).map((peer) => new ProcessLink(control, peer, stepTimeoutSeconds));
    this.#outboxes = this.#links.map(() => []);
  }

  /** Loads this process's share; resolves when all processes have theirs. */
  static async start(options: ProcessOptions): Promise<ProcessGroup> {
    const answers = new RankAnswers(options);
    const opened = await openRank(options.setup, options.place, answers.post);
    const control = await options.place.communicator.dup(waitOf(options));
    return new ProcessGroup(options, control, opened, answers);
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
      case 'load':
      case 'stage-experts':
      case 'switch-experts':
        this.#inbox.push(message);
        for (const outbox of this.#outboxes) outbox.push(message);
        if (message.type === 'switch-experts') break;
        this.#awaited += this.#links.length;
        this.#ask();
        break;
    }
  }

  postTo(rank: number, message: ToWorker): void {
    if (message.type !== 'tokens' && message.type !== 'release') return;
    for (let member = rank * this.copies; member < (rank + 1) * this.copies; member++) {
      if (member === 0) this.#inbox.push(message);
      else this.#outboxes[member - 1]!.push(message);
    }
  }

  /** Says who gets the messages about experts. */
  listenToExperts(onRank: ExpertListener): void {
    this.#onRank = onRank;
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
    const deliver = this.#collect({ type: 'step', buffer, bytes });
    this.#then(() => {
      deliver();
      const own = this.#answers.step(() => this.#rank.receive({ type: 'step', buffer, isTraced }));
      if (own.type === 'failed') throw decodeError(own.error);
      const { phases } = own;
      const logprobs = [...(own.logprobs ?? [])];
      this.#receive((process, answer) => this.#take(buffer, process, answer!, logprobs));
      this.#onMessage({
        type: 'stepped',
        buffer,
        ...(logprobs.length > 0 && { logprobs }),
        ...(phases && { phases }),
      });
    });
  }

  /** Asks the other processes for what they have to report, until all that was asked for is here. */
  #ask(): void {
    const deliver = this.#collect({ type: 'report' });
    this.#then(() => {
      deliver();
      this.#receive(() => undefined);
      if (this.#awaited === 0) return;
      setTimeout(() => {
        if (!this.#isClosed) this.#ask();
      }, REPORT_MILLISECONDS);
    });
  }

  /** Returns what gives every process the messages that are there now, and `last` to the others. */
  #collect(last: ToProcess): () => void {
    const own = this.#inbox.splice(0);
    const messages = this.#outboxes.map((outbox) => [...outbox.splice(0), last]);
    return () => {
      for (const [i, link] of this.#links.entries()) link.send(messages[i]);
      for (const message of own) this.#rank.receive(message);
    };
  }

  #receive(take: (process: number, answer: StepAnswer | undefined) => void): void {
    for (const [i, link] of this.#links.entries()) {
      const { step, reports } = link.receive<FromProcess>();
      take(i + 1, step);
      for (const report of reports) this.#report(i + 1, report);
    }
  }

  #take(buffer: number, process: number, answer: StepAnswer, logprobs: PlacedLogprobs[]): void {
    if (answer.error !== undefined) throw decodeError(answer.error);
    const step = this.#buffers[buffer]!;
    for (const [i, place] of answer.places.entries()) {
      step.tokens[place] = answer.tokens[i]!;
      step.finished[place] = answer.finished[i]!;
    }
    // Processes that share heads all have the logits of their sequences: one speaks for them.
    if (process % this.copies === 0) logprobs.push(...(answer.logprobs ?? []));
  }

  #report(process: number, report: FromWorker): void {
    if (report.type === 'load' || report.type === 'experts-staged') {
      if (process > 0) this.#awaited--;
      this.#onRank(process, report);
    } else if (report.type === 'failed') this.#onMessage(report);
  }

  /** Runs `body` after what was posted before, in a turn of the event loop of its own. */
  #then(body: () => void): void {
    this.#last = this.#last.then(async () => {
      await new Promise(setImmediate);
      try {
        body();
      } catch (error) {
        this.#onMessage({ type: 'failed', buffer: -1, error: encodeError(error) });
      }
    });
  }
}

/** Sorts what a rank of this process says: answers to steps, which it gives at once, and reports, which come when they come. */
class RankAnswers {
  onReport: (report: FromWorker) => void;
  readonly post = (message: FromWorker): void => {
    const isAnswer = message.type === 'stepped' || (message.type === 'failed' && message.buffer >= 0);
    if (isAnswer) this.#answer = message;
    else this.onReport(message);
  };
  #answer: Extract<FromWorker, { type: 'stepped' | 'failed' }> | undefined;

  constructor({ onProgress }: ProcessOptions) {
    this.onReport = (report) => {
      if (report.type === 'progress') onProgress?.(report);
    };
  }

  /** What the rank answers to a step that `run` gives it. */
  step(run: () => void): Extract<FromWorker, { type: 'stepped' | 'failed' }> {
    this.#answer = undefined;
    run();
    return this.#answer!;
  }
}

/** Runs this process's part of a group whose first process has the {@link ProcessGroup}. Resolves when that one closes. */
export async function followProcess(options: ProcessOptions): Promise<void> {
  const answers = new RankAnswers(options);
  const { rank, runtime } = await openRank(options.setup, options.place, answers.post);
  const reports: FromWorker[] = [];
  answers.onReport = (report) => reports.push(report);
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
        const answer = answers.step(() => rank.receive({ type: 'step', buffer: message.buffer }));
        const reply: FromProcess = { step: answerOf(buffer, answer), reports: reports.splice(0) };
        link.send(reply);
      } else if (message.type === 'report') {
        const reply: FromProcess = { step: undefined, reports: reports.splice(0) };
        link.send(reply);
      } else {
        rank.receive(message);
      }
    }
  }
}

/** The outcomes of those sequences of a step that this rank ran. */
function answerOf(step: StepBuffer, answer: Extract<FromWorker, { type: 'stepped' | 'failed' }>): StepAnswer {
  const places: number[] = [];
  for (let place = 0; place < step.sequences; place++) if (step.tokens[place]! >= 0) places.push(place);
  return {
    places: Int32Array.from(places),
    tokens: Int32Array.from(places, (place) => step.tokens[place]!),
    finished: Uint8Array.from(places, (place) => step.finished[place]!),
    logprobs: answer.type === 'stepped' ? answer.logprobs : undefined,
    error: answer.type === 'failed' ? answer.error : undefined,
  };
}

function others({ rank, size }: Communicator): number[] {
  return Array.from({ length: size }, (_, peer) => peer).filter((peer) => peer !== rank);
}

function waitOf({ setup }: ProcessOptions): WaitOptions {
  return { timeoutSeconds: setup.stepTimeoutSeconds };
}
