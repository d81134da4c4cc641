import { CollectivesError } from '../errors.js';
import type { LinkFit } from '../schedule/link-fit.js';
import type { Algorithm, Plan, PlanRequest, RunOptions, WaitOptions } from './communicator.js';
import type { DtypeArray } from './dtype.js';
import type { Runner } from './runner.js';
import type { Transport } from './transport.js';
import { blockUntil, type Waitable, waitUntil } from './waiting.js';

/** What a plan needs of its communicator. */
export interface PlanHost {
  readonly transport: Transport;
  readonly timeoutSeconds: number;
  /** What `auto` chooses by. */
  fit(): LinkFit;
  /** What broke the communicator, or that it was closed; undefined while it is usable. */
  broken(): Error | undefined;
  /** Breaks the communicator for all its plans, unless the error leaves it usable. */
  report(error: unknown): void;
  forget(plan: PlanBody): void;
}

/** Buffers and counts of a plan, fixed when it is made. */
export interface PlanParts {
  readonly op: PlanRequest['op'];
  readonly input: DtypeArray;
  readonly output: DtypeArray;
  readonly sendCounts: Int32Array;
  readonly receivedCounts: Int32Array;
  /** Memory that the plan allocated for itself. */
  readonly owned: readonly DtypeArray[];
}

/** What the agreement of a plan leads to. */
export interface Outcome {
  readonly runner: Runner;
  readonly algorithm: Algorithm | undefined;
}

/** The agreement that a plan waits for. */
export interface Agreement extends Waitable {
  result(): Outcome;
}

/** The one implementation of {@link Plan}: agrees, then drives a {@link Runner}. */
export class PlanBody implements Plan {
  readonly op: PlanRequest['op'];
  readonly input: DtypeArray;
  readonly output: DtypeArray;
  readonly sendCounts: Int32Array;
  readonly receivedCounts: Int32Array;
  algorithm: Algorithm | undefined;
  readonly #host: PlanHost;
  readonly #what: string;
  readonly #owned: readonly DtypeArray[];
  #agreement: Agreement | undefined;
  #runner: Runner | undefined;
  #active = false;
  #closed = false;

  constructor(host: PlanHost, parts: PlanParts, agreement: Agreement) {
    this.op = parts.op;
    this.input = parts.input;
    this.output = parts.output;
    this.sendCounts = parts.sendCounts;
    this.receivedCounts = parts.receivedCounts;
    this.#owned = parts.owned;
    this.#host = host;
    this.#what = `${parts.op} on rank ${host.transport.rank} of ${host.transport.size}`;
    this.#agreement = agreement;
  }

  run(options?: RunOptions): void {
    const runner = this.#runner;
    if (runner?.run === undefined) {
      this.start();
      this.finish(options);
      return;
    }
    this.#checkStart();
    try {
      runner.run(options?.timeoutSeconds ?? this.#host.timeoutSeconds);
    } catch (error) {
      throw this.#failed(error);
    }
  }

  start(): void {
    this.#checkStart();
    try {
      this.#runner?.start();
    } catch (error) {
      throw this.#failed(error);
    }
    this.#active = true;
  }

  test(): boolean {
    if (!this.#active) return true;
    const broken = this.#host.broken();
    if (broken !== undefined) throw broken;
    try {
      if (this.#runner === undefined) {
        if (!this.#agreed()) return false;
        (this.#runner as unknown as Runner).start();
      }
      if (!(this.#runner as unknown as Runner).test()) return false;
    } catch (error) {
      throw this.#failed(error);
    }
    this.#active = false;
    return true;
  }

  finish(options?: RunOptions): void {
    if (!this.#active) return;
    try {
      blockUntil(
        this.#host.transport,
        this.#what,
        this,
        options?.timeoutSeconds ?? this.#host.timeoutSeconds,
      );
    } catch (error) {
      throw this.#failed(error);
    }
  }

  async wait(options?: WaitOptions): Promise<void> {
    if (!this.#active) return;
    try {
      await waitUntil(
        this.#host.transport,
        this.#what,
        this,
        withTimeout(options, this.#host.timeoutSeconds),
      );
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** Blocks until all ranks agreed; only where this thread may block. */
  agreeBlocking(options?: RunOptions): void {
    const seconds = options?.timeoutSeconds ?? this.#host.timeoutSeconds;
    try {
      blockUntil(this.#host.transport, this.#planning(), this.#asAgreement(), seconds);
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** Resolves when all ranks agreed. */
  async agree(options?: WaitOptions): Promise<void> {
    const waiting = withTimeout(options, this.#host.timeoutSeconds);
    try {
      await waitUntil(this.#host.transport, this.#planning(), this.#asAgreement(), waiting);
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** Polls the agreement once; rethrows its error. */
  poll(): void {
    try {
      this.#agreed();
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** See the transport's. */
  activity(): number {
    return this.#host.transport.activity();
  }

  missing(): readonly number[] {
    return (this.#runner ?? this.#agreement)?.missing() ?? [];
  }

  close(): void {
    if (this.#closed) return;
    if (this.#active && this.#host.broken() === undefined) throw busy(this.#what, 'close');
    this.#takeRunner();
    this.#closed = true;
    this.#active = false;
    this.#runner?.close();
    this.#runner = undefined;
    this.#agreement = undefined;
    for (const array of this.#owned) this.#host.transport.release(bytesOf(array));
    this.#host.forget(this);
  }

  #checkStart(): void {
    if (this.#active) throw busy(this.#what, 'start');
    const broken = this.#host.broken();
    if (broken !== undefined) throw broken;
    if (this.#closed) {
      throw new CollectivesError({
        code: 'collectives/closed',
        message: `${this.#what}: the plan is closed`,
        remedy: 'make a new plan',
      });
    }
  }

  /** An agreement may have been completed by the poll of another plan. */
  #takeRunner(): void {
    try {
      this.#agreed();
    } catch {
      // A plan whose agreement failed has nothing to close.
    }
  }

  #planning(): string {
    return `planning ${this.#what}`;
  }

  #asAgreement(): Waitable {
    return { test: () => this.#agreed(), missing: () => this.missing() };
  }

  #agreed(): boolean {
    if (this.#agreement === undefined) return true;
    if (!this.#agreement.test()) return false;
    const { runner, algorithm } = this.#agreement.result();
    this.#runner = runner;
    this.algorithm = algorithm;
    this.#agreement = undefined;
    return true;
  }

  #failed(error: unknown): unknown {
    this.#host.report(error);
    const goesOn = CollectivesError.isInstance(error) && error.code === 'collectives/would-block';
    if (!goesOn && this.#host.broken() === undefined) this.#active = false;
    return error;
  }
}

function withTimeout(
  options: WaitOptions | undefined,
  timeoutSeconds: number,
): WaitOptions & { timeoutSeconds: number } {
  return { ...options, timeoutSeconds: options?.timeoutSeconds ?? timeoutSeconds };
}

export function bytesOf(array: DtypeArray): Uint8Array {
  return array instanceof Uint8Array
    ? array
    : new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

function busy(what: string, call: string): CollectivesError {
  return new CollectivesError({
    code: 'collectives/busy',
    message: `${what} is still active: ${call}() came before the end of the last run`,
    remedy: 'wait for the run with finish() or wait()',
  });
}
