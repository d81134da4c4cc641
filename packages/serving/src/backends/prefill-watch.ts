import type { ServingError } from '../errors.js';
import type { BodyConsumer, BodySource, Leg, LegHead } from '../upstream/leg.js';
import type { Worker } from '../upstream/worker.js';
import { asServingError, errorAnswer, isSuccess } from './read-answer.js';

/** What a prefill leg failed with. */
export type PrefillFailure =
  | ServingError
  | Extract<Awaited<ReturnType<typeof errorAnswer>>, { type: 'error' }>;

/** A prefill leg that finished decode legs must not wait for longer. */
const drainGraceMs = 5000;

/**
 * Watches a prefill leg that runs beside its decode leg: reads and forgets its answer, and ends the decode leg at once
 * when it fails, since that one would wait for KV blocks until a timeout of minutes.
 */
export class PrefillWatch {
  readonly #leg: Leg;
  readonly #translate: (failure: PrefillFailure, worker: Worker) => PrefillFailure;
  #failure: PrefillFailure | undefined;
  #onFailure: ((failure: PrefillFailure) => void) | undefined;
  #isLeft = false;
  #isAnswered = false;

  /**
   * @param translate - makes of a failure what the client is to get.
   */
  constructor(
    leg: Leg,
    translate: (failure: PrefillFailure, worker: Worker) => PrefillFailure = (failure) => failure,
  ) {
    this.#leg = leg;
    this.#translate = translate;
    void this.#watch();
  }

  async #watch(): Promise<void> {
    try {
      const head = await this.#leg.head;
      if (!isSuccess(head)) {
        this.#fail(await errorAnswer(this.#leg, head));
        return;
      }
      this.#leg.consume({
        data: () => true,
        end: () => {
          this.#isAnswered = true;
        },
        error: (error) => this.#fail(asServingError(error, this.#leg.worker.name)),
      });
    } catch (error) {
      this.#fail(asServingError(error, this.#leg.worker.name));
    }
  }

  #fail(failure: PrefillFailure): void {
    if (this.#isLeft) return;
    this.#failure = this.#translate(failure, this.#leg.worker);
    this.#onFailure?.(this.#failure);
  }

  get failure(): PrefillFailure | undefined {
    return this.#failure;
  }

  get worker(): Worker {
    return this.#leg.worker;
  }

  /**
   * The client has left: lets a leg end whose answer may be on its way, and cuts it off after a grace.
   *
   * @returns whether it was answered, so that its server holds KV blocks until somebody fetches them.
   */
  async outlast(graceSeconds: number, reason: unknown): Promise<boolean> {
    let immediate: NodeJS.Immediate | undefined;
    const timer = setTimeout(() => {
      // Timers run before the sockets are read; immediates after.
      immediate = setImmediate(() => this.abort(reason));
    }, graceSeconds * 1000);
    await this.#leg.settled;
    clearTimeout(timer);
    clearImmediate(immediate);
    // The end of the answer is told in the same turn.
    await new Promise(setImmediate);
    return this.#isAnswered;
  }

  /** Tells of a failure, at once if it has happened; the result ends that. */
  onFailure(callback: (failure: PrefillFailure) => void): () => void {
    this.#onFailure = callback;
    if (this.#failure !== undefined) callback(this.#failure);
    return () => {
      if (this.#onFailure === callback) this.#onFailure = undefined;
    };
  }

  /** Ends the leg: its answer is of no use any more. */
  abort(reason: unknown): void {
    this.#isLeft = true;
    this.#leg.abort(reason);
  }

  /** The decode leg has ended well: the prefill leg has nothing left to do but to say so. */
  finish(): void {
    if (this.#leg.isDone) return;
    this.#isLeft = true;
    const timer = setTimeout(() => this.abort(new Error('the decode leg has ended')), drainGraceMs);
    void this.#leg.settled.then(() => clearTimeout(timer));
  }
}

/** What comes first of a decode leg: its head or failure, the prefill leg's failure, or the end of the client. */
export type FirstOf =
  | { readonly type: 'head'; readonly head: LegHead }
  | { readonly type: 'error'; readonly error: unknown }
  | { readonly type: 'prefill'; readonly failure: PrefillFailure }
  | { readonly type: 'left' };

/** Waits for the first of these. */
export function firstOf(leg: Leg, signal: AbortSignal, watch?: PrefillWatch): Promise<FirstOf> {
  return new Promise((resolve) => {
    const onAbort = () => finish({ type: 'left' });
    let unwatch: (() => void) | undefined;
    const finish = (first: FirstOf) => {
      signal.removeEventListener('abort', onAbort);
      unwatch?.();
      resolve(first);
    };
    leg.head.then(
      (head) => finish({ type: 'head', head }),
      (error: unknown) => finish({ type: 'error', error }),
    );
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    unwatch = watch?.onFailure((failure) => finish({ type: 'prefill', failure }));
  });
}

/** A decode leg's body that fails when the prefill leg does, and whose early end ends both. */
export class WatchedSource implements BodySource, BodyConsumer {
  readonly #decode: BodySource;
  readonly #watch: PrefillWatch;
  #consumer: BodyConsumer | undefined;
  #isOver = false;

  constructor(decode: BodySource, watch: PrefillWatch) {
    this.#decode = decode;
    this.#watch = watch;
  }

  consume(consumer: BodyConsumer): void {
    this.#consumer = consumer;
    this.#watch.onFailure((failure) => this.#fail(failure));
    if (!this.#isOver) this.#decode.consume(this);
  }

  resume(): void {
    this.#decode.resume();
  }

  abort(reason: unknown): void {
    this.#isOver = true;
    this.#watch.abort(reason);
    this.#decode.abort(reason);
  }

  data(chunk: Uint8Array): boolean {
    return this.#isOver || this.#consumer!.data(chunk);
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#watch.finish();
    this.#consumer!.end();
  }

  error(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#watch.abort(error);
    this.#consumer!.error(error);
  }

  #fail(failure: PrefillFailure): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#decode.abort(failure);
    this.#consumer!.error(failure);
  }
}
