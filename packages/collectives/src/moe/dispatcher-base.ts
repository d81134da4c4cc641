import type { Communicator, RunOptions, WaitOptions } from '../communicator/communicator.js';
import type { TrafficCounters } from '../communicator/counters.js';
import type { Pending, Transport } from '../communicator/transport.js';
import { blockUntil, type Waitable, waitUntil } from '../communicator/waiting.js';
import { CollectivesError } from '../errors.js';
import type { DispatcherConfig } from './config.js';
import { type DispatchLayout, dispatchLayout } from './layout.js';
import type { Phase } from './phase.js';
import type { Route } from './route.js';
import { createCounters, type DispatchCounters } from './slot-counters.js';

/** A dispatch or combine whose send phase has begun on this rank. */
export interface PendingExchange {
  /** Polls every exchange of the dispatcher; whether this one is complete on this rank. Never blocks. */
  poll(): boolean;
  /** Ranks whose messages, or whose readiness to receive, are still missing. */
  missing(): readonly number[];
}

/** One exchange in flight. */
export class Exchange<Result> implements PendingExchange, Waitable {
  readonly #owner: DispatcherBase;
  readonly #phase: Phase;
  readonly #finish: (failed: boolean) => Result;
  #complete = false;
  #result: Result | undefined;
  #error: unknown;

  /** @param finish - called once, at the end; told whether an error ended the exchange, then its result is not used. */
  constructor(owner: DispatcherBase, phase: Phase, finish: (failed: boolean) => Result) {
    this.#owner = owner;
    this.#phase = phase;
    this.#finish = finish;
  }

  /** Whether both halves of the exchange are done. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Advances the phase; an error ends the exchange and is thrown to whoever receives it. */
  advance(): boolean {
    if (this.#complete) return true;
    try {
      if (!this.#phase.advance()) return false;
      this.#result = this.#finish(false);
    } catch (error) {
      this.#error = error;
      // Counts that do not fit stop an exchange before its messages; after anything else streams are in disorder.
      if (CollectivesError.isInstance(error) && error.code === 'collectives/bad-shape') this.#finish(true);
      else this.#owner.breakWith(error);
    }
    this.#complete = true;
    return true;
  }

  poll(): boolean {
    this.#owner.progress();
    return this.#complete;
  }

  /** {@link Exchange.poll}, by the name that waiting calls it. */
  test(): boolean {
    return this.poll();
  }

  missing(): readonly number[] {
    const ranks = new Set<number>();
    if (!this.#complete) this.#phase.missing(ranks);
    return [...ranks].sort((a, b) => a - b);
  }

  /** The result, once complete. */
  take(): Result {
    if (this.#error !== undefined) throw this.#error;
    return this.#result as Result;
  }
}

/** What both kinds of dispatcher share: a communicator of its own, exchanges in flight, waiting, counters. */
export abstract class DispatcherBase {
  readonly config: DispatcherConfig;
  readonly rank: number;
  /** What this rank has sent and received so far, by purpose. */
  readonly counters: DispatchCounters;
  /** `[E/R]`: selections of each local expert over all dispatches received so far, for load statistics. */
  readonly expertLoad: Float64Array;
  /** @internal */
  protected readonly transport: Transport;
  readonly #comm: Communicator;
  /** The first `#activeCount` are in flight; the array never shrinks, so that it need not grow again. */
  readonly #active: (Exchange<unknown> | undefined)[] = [];
  #activeCount = 0;
  #closed = false;
  #broken: unknown;

  /** @param comm - owned by the dispatcher from now on. */
  constructor(comm: Communicator, config: DispatcherConfig) {
    this.#comm = comm;
    this.config = config;
    this.rank = comm.rank;
    this.transport = comm.transport;
    this.expertLoad = new Float64Array(config.localExperts);
    this.counters = createCounters(comm.rank, comm.topology);
  }

  /** Counts where tokens would go, without sending anything. */
  layout(topkIdx: Int32Array, tokens: number = topkIdx.length / this.config.topK): DispatchLayout {
    return dispatchLayout(topkIdx, tokens, this.config);
  }

  /** Advances every exchange in flight without blocking; call it between computations to overlap them with messages. */
  progress(): void {
    this.transport.progress();
    let kept = 0;
    for (let i = 0; i < this.#activeCount; i++) {
      const exchange = this.#active[i]!;
      if (!exchange.advance()) this.#active[kept++] = exchange;
    }
    for (let i = kept; i < this.#activeCount; i++) this.#active[i] = undefined;
    this.#activeCount = kept;
  }

  /** Everything that the transport below has counted; the sum of {@link DispatcherBase.counters}. */
  get transportCounters(): TrafficCounters {
    return this.transport.counters;
  }

  /** Sets the counters and the expert load to zero. */
  resetCounters(): void {
    for (const counters of Object.values(this.counters) as TrafficCounters[]) counters.reset();
    this.transport.counters.reset();
    this.expertLoad.fill(0);
  }

  /**
   * Waits until every rank closes, since a rank that went first would look failed to ranks that are not done, then frees channels and buffers.
   * Collective; without the others, or after a failure, it frees at once or when the time is over. Idempotent.
   */
  async close(options: WaitOptions = {}): Promise<void> {
    const farewell = this.#farewell();
    if (farewell === undefined) return;
    const timeoutSeconds = options.timeoutSeconds ?? this.#comm.timeoutSeconds;
    try {
      await waitUntil(this.transport, 'close', farewell, {
        ...options,
        timeoutSeconds,
        tolerateFailure: true,
      });
    } catch {
      // The others are gone or late: nothing is left to wait for.
    }
    this.#comm.close();
  }

  /** {@link DispatcherBase.close} for ranks in their own thread or process: blocks. */
  closeSync(options: RunOptions = {}): void {
    const farewell = this.#farewell();
    if (farewell === undefined) return;
    try {
      blockUntil(
        this.transport,
        'close',
        farewell,
        options.timeoutSeconds ?? this.#comm.timeoutSeconds,
        true,
      );
    } catch {
      // As in close().
    }
    this.#comm.close();
  }

  /** Something to wait for before closing, unless there is nothing to close or nobody to wait for. */
  #farewell(): Pending<unknown> | undefined {
    if (this.#closed) return undefined;
    this.#closed = true;
    if (this.#broken === undefined && this.#activeCount === 0 && this.transport.failure() === undefined) {
      return this.transport.agree(new Uint8Array(0));
    }
    this.#comm.close();
    return undefined;
  }

  /** @internal */
  breakWith(error: unknown): void {
    this.#broken ??= error;
  }

  /** @internal */
  protected needOpen(): void {
    if (this.#broken !== undefined) throw this.#broken;
    if (!this.#closed) return;
    throw new CollectivesError({
      code: 'collectives/closed',
      message: 'the dispatcher is closed',
      remedy: 'create another one',
    });
  }

  /** @internal */
  protected track<Result>(phase: Phase, finish: (failed: boolean) => Result): Exchange<Result> {
    const exchange = new Exchange<Result>(this, phase, finish);
    this.#active[this.#activeCount++] = exchange;
    return exchange;
  }

  /** @internal */
  protected finishSync<Result>(what: string, exchange: Exchange<Result>, options: RunOptions): Result {
    const timeoutSeconds = options.timeoutSeconds ?? this.#comm.timeoutSeconds;
    try {
      blockUntil(this.transport, what, exchange, timeoutSeconds);
    } catch (error) {
      const again = CollectivesError.isInstance(error) && error.code === 'collectives/would-block';
      if (!again) this.breakWith(error);
      throw error;
    }
    return exchange.take();
  }

  /** @internal */
  protected async finishAsync<Result>(
    what: string,
    exchange: Exchange<Result>,
    options: WaitOptions,
  ): Promise<Result> {
    const timeoutSeconds = options.timeoutSeconds ?? this.#comm.timeoutSeconds;
    try {
      await waitUntil(this.transport, what, exchange, { ...options, timeoutSeconds });
    } catch (error) {
      this.breakWith(error);
      throw error;
    }
    return exchange.take();
  }
}

/** Slot number `sequence % slots`, refused while its last exchange is in flight. */
export function nextSlot(what: string, sequence: number, slots: readonly { busy: boolean }[]): number {
  const slot = sequence % slots.length;
  if (slots[slot]!.busy) throw inFlightError(what, slots.length);
  return slot;
}

/** Refuses to overwrite the routing of a dispatch that a combine in flight still reads. */
export function needRouteFree(route: Route, combines: readonly { route: Route | undefined }[]): void {
  for (let i = 0; i < combines.length; i++) {
    if (combines[i]!.route === route) throw inFlightError('combine', combines.length);
  }
}

function inFlightError(what: string, slots: number): CollectivesError {
  return new CollectivesError({
    code: 'collectives/busy',
    message: `a ${what} of ${slots} exchanges ago is still in flight`,
    value: slots,
    remedy: `receive the oldest ${what} first, or raise inFlight`,
  });
}
