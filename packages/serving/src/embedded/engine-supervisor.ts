import type { QueueLoad } from '@moestack/scheduler';
import type { BackendMetrics } from '../backend.js';
import type { Clock } from '../clock.js';
import { queueFull, ServingError } from '../errors.js';
import type { Engine, EngineInspection } from './engine.js';
import type { ExpertBalancer } from './expert-balancer.js';
import { RetriedRequest } from './retried-request.js';
import type { Submission } from './running.js';

/** Ranks of each stage, by name. */
export type StageRanks = Readonly<Record<string, number>>;

/** An engine with the workers that it runs on. */
export interface EngineInstance {
  readonly engine: Pick<
    Engine,
    'submit' | 'metrics' | 'failure' | 'waiting' | 'close' | 'load' | 'inspect' | 'cachedTokensOf'
  >;
  readonly ranks: StageRanks;
  readonly weightBytes: number;
  /** Of the stages of several ranks. */
  readonly balancers: readonly ExpertBalancer[];
  /** Of all stages of a model with experts. */
  readonly experts: readonly ExpertBalancer[];
  /** The stage whose rank was lost, where one is to blame, and the steps that it, or the engine, had completed. */
  lost(): { readonly stage: string | undefined; readonly steps: number };
  /** Says who is told, once, that a rank was lost. */
  onLost(listener: (error: unknown) => void): void;
}

/** That an engine was lost, and what was done. */
export interface EngineRestart {
  /** The stage that was lost, where one is to blame. */
  readonly stage: string | undefined;
  readonly error: unknown;
  /** Ranks of each stage that serve from now on; undefined when the engine was given up. */
  readonly ranks: StageRanks | undefined;
  /** Requests that go on where they stopped. */
  readonly resumed: number;
}

/** Options of an {@link EngineSupervisor}. */
export interface SupervisorOptions {
  /** Starts an engine with so many ranks for each stage. */
  readonly start: (ranks: StageRanks, signal: AbortSignal) => Promise<EngineInstance>;
  /** Times that a request is taken up again. */
  readonly retries: number;
  /** Restarts in a row after which the engine was lost again within a few steps. */
  readonly restarts: number;
  /** Requests that may wait for a restart. */
  readonly maxWaiting: number;
  readonly onRestart: (restart: EngineRestart) => void;
  readonly clock: Pick<Clock, 'nowUs'>;
}

const retryAfterSeconds = 2;
/** An engine that has run so long, or a stage that has done so much, was no failed start. */
const SOUND_US = 60_000_000;
const SOUND_STEPS = 16;
/** How long the end of lost workers is waited for; a thread that never ends holds nothing that a new one needs. */
const CLOSE_MILLISECONDS = 5000;

/**
 * Keeps an engine running: when a rank is lost, all of its workers end, others start in their place, and the requests go on with the tokens that they have, of
 * which none is lost or repeated: a token depends on the request, its seed and its position only.
 *
 * A stage that is lost again after a few steps, or cannot start, starts with one rank less.
 */
export class EngineSupervisor {
  readonly #options: SupervisorOptions;
  readonly #abort = new AbortController();
  /** Requests that wait for an engine, oldest first. */
  readonly #waiting: RetriedRequest[] = [];
  #instance: EngineInstance | undefined;
  #last: EngineInstance;
  #recovering: Promise<void> | undefined;
  #fruitless = 0;
  #startedUs = 0;
  #restarts = 0;
  #failure: unknown;
  #reason: unknown;

  private constructor(options: SupervisorOptions, instance: EngineInstance) {
    this.#options = options;
    this.#last = instance;
    this.#use(instance);
  }

  /** Starts the first engine. @throws what its start throws. */
  static async start(options: SupervisorOptions, ranks: StageRanks): Promise<EngineSupervisor> {
    return new EngineSupervisor(options, await options.start(ranks, new AbortController().signal));
  }

  /** Why the engine was given up, if it was. */
  get failure(): unknown {
    return this.#failure;
  }

  get isRestarting(): boolean {
    return this.#recovering !== undefined;
  }

  /** Times that the engine was started anew. */
  get restarts(): number {
    return this.#restarts;
  }

  get balancers(): readonly ExpertBalancer[] {
    return this.#last.balancers;
  }

  /** Those of all stages, also where there is nothing to balance. */
  get experts(): readonly ExpertBalancer[] {
    return this.#last.experts;
  }

  /** What stands before a request that would come now; undefined during a restart. */
  load(): QueueLoad | undefined {
    return this.#instance?.engine.load();
  }

  /** Tokens of a prompt that are cached now for its owner. */
  cachedTokensOf(prompt: Int32Array, owner?: string): number {
    return this.#instance?.engine.cachedTokensOf(prompt, owner) ?? 0;
  }

  /** What the engine knows of itself, the newest one during a restart. */
  inspect(): EngineInspection {
    const inspection = this.#last.engine.inspect();
    return { ...inspection, waiting: inspection.waiting + this.#waiting.length };
  }

  get weightBytes(): number {
    return this.#last.weightBytes;
  }

  /** Requests that wait to be admitted. */
  get waiting(): number {
    return (this.#instance?.engine.waiting ?? 0) + this.#waiting.length;
  }

  metrics(): BackendMetrics {
    return this.#last.engine.metrics();
  }

  /**
   * Queues a request; during a restart it waits.
   *
   * @returns a function that cancels it.
   * @throws what the engine throws; ServingError `serving/queue-full`; why the engine was given up.
   */
  submit(submission: Submission): () => void {
    if (this.#failure !== undefined) throw this.#failure;
    const request = new RetriedRequest(submission, {
      onEnd: () => this.#feed(),
      onLost: (lost, error) => this.#retry(lost, error),
    });
    const instance = this.#instance;
    if (instance !== undefined && this.#waiting.length === 0) {
      try {
        request.submit(instance.engine);
        return () => this.#cancel(request);
      } catch (error) {
        if (instance.engine.failure === undefined) throw error;
        this.#recover(instance, error);
      }
    }
    if (this.#failure !== undefined) throw this.#failure;
    if (this.waiting >= this.#options.maxWaiting) throw queueFull(this.waiting, retryAfterSeconds);
    this.#waiting.push(request);
    return () => this.#cancel(request);
  }

  /** Ends the ranks; what runs or waits fails with `reason`. */
  async close(reason: unknown): Promise<void> {
    this.#reason = reason;
    this.#abort.abort(reason);
    this.#giveUp(reason);
    await Promise.all([this.#instance?.engine.close(reason), this.#recovering]);
  }

  #use(instance: EngineInstance): void {
    this.#instance = instance;
    this.#last = instance;
    this.#startedUs = this.#options.clock.nowUs();
    instance.onLost((error) => this.#recover(instance, error));
  }

  #cancel(request: RetriedRequest): void {
    const index = this.#waiting.indexOf(request);
    if (index >= 0) this.#waiting.splice(index, 1);
    request.cancel();
  }

  /** Takes a request up again, unless it was there too often when the engine was lost. */
  #retry(request: RetriedRequest, error: unknown): void {
    const instance = this.#instance;
    const isLost = instance === undefined || instance.engine.failure !== undefined;
    if (this.#failure !== undefined || !isLost || request.attempts > this.#options.retries) {
      request.fail(this.#failure ?? error);
    } else {
      this.#waiting.push(request);
    }
    if (instance !== undefined && isLost) this.#recover(instance, error);
  }

  /** Begins a restart after the loss of `instance`, once. */
  #recover(instance: EngineInstance, error: unknown): void {
    if (this.#instance !== instance || this.#reason !== undefined) return;
    this.#instance = undefined;
    if (this.#options.clock.nowUs() - this.#startedUs > SOUND_US) this.#fruitless = 0;
    this.#recovering = this.#restart(instance, error).finally(() => {
      this.#recovering = undefined;
    });
  }

  async #restart(lost: EngineInstance, error: unknown): Promise<void> {
    const { stage, steps } = lost.lost();
    if (steps >= SOUND_STEPS) this.#fruitless = 0;
    await within(lost.engine.close(error), CLOSE_MILLISECONDS);
    let ranks = lost.ranks;
    let cause = error;
    while (this.#fruitless < this.#options.restarts && this.#reason === undefined) {
      if (this.#fruitless++ > 0) ranks = shrunk(ranks, stage);
      try {
        const instance = await this.#options.start(ranks, this.#abort.signal);
        if (this.#reason !== undefined) {
          await instance.engine.close(this.#reason);
          return;
        }
        this.#restarts++;
        this.#use(instance);
        const resumed = this.#waiting.length;
        this.#feed();
        this.#options.onRestart({ stage, error, ranks, resumed });
        return;
      } catch (failure) {
        cause = failure;
      }
    }
    if (this.#reason !== undefined) return;
    this.#giveUp(givenUp(cause));
    this.#options.onRestart({ stage, error, ranks: undefined, resumed: 0 });
  }

  /** Hands waiting requests to the engine until its queue is full. */
  #feed(): void {
    while (this.#waiting.length > 0) {
      const instance = this.#instance;
      if (instance === undefined || instance.engine.failure !== undefined) return;
      const request = this.#waiting[0]!;
      try {
        request.submit(instance.engine);
      } catch (error) {
        if (isQueueFull(error)) return;
        if (instance.engine.failure !== undefined) {
          this.#recover(instance, error);
          return;
        }
        request.fail(error);
      }
      this.#waiting.splice(this.#waiting.indexOf(request), 1);
    }
  }

  #giveUp(error: unknown): void {
    this.#failure ??= error;
    for (const request of this.#waiting.splice(0)) request.fail(error);
  }
}

/** One rank less for the stage that was lost, or for the largest one. */
function shrunk(ranks: StageRanks, stage: string | undefined): StageRanks {
  const names = Object.keys(ranks).sort((a, b) => ranks[b]! - ranks[a]!);
  const name = stage !== undefined && (ranks[stage] ?? 1) > 1 ? stage : names[0]!;
  return { ...ranks, [name]: Math.max(1, ranks[name]! - 1) };
}

async function within(promise: Promise<unknown>, milliseconds: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([promise.catch(() => undefined), timeout]);
  clearTimeout(timer);
}

function isQueueFull(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === 'scheduler/queue-full';
}

function givenUp(cause: unknown): ServingError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new ServingError({
    code: 'serving/engine-failed',
    message: `the engine was given up after it failed again and again: ${reason}`,
    remedy: 'restart the server; if it happens again, use a smaller batch, context or model',
    status: 500,
    cause,
  });
}
