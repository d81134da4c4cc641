import type { Pending } from './transport.js';
import type { Waitable } from './waiting.js';

/** A control operation in the queue: complete, failed, or waiting for its turn or for other ranks. */
export class ControlTicket<T, R> implements Waitable {
  readonly #queue: ControlQueue;
  readonly #begin: () => Pending<T>;
  readonly #complete: (result: T) => R;
  #pending: Pending<T> | undefined;
  #outcome: { readonly value: R } | { readonly error: unknown } | undefined;

  constructor(queue: ControlQueue, begin: () => Pending<T>, complete: (result: T) => R) {
    this.#queue = queue;
    this.#begin = begin;
    this.#complete = complete;
  }

  /** Whether it is complete, after advancing the queue. @throws the error that it ended with. */
  test(): boolean {
    if (this.#outcome === undefined) this.#queue.pump();
    if (this.#outcome === undefined) return false;
    if ('error' in this.#outcome) throw this.#outcome.error;
    return true;
  }

  missing(): readonly number[] {
    return this.#pending?.missing() ?? [];
  }

  result(): R {
    if (this.#outcome === undefined || !('value' in this.#outcome))
      throw new Error('the operation is not complete');
    return this.#outcome.value;
  }

  /** Begins it or polls it; returns whether it has an outcome. */
  advance(): boolean {
    try {
      this.#pending ??= this.#begin();
      if (!this.#pending.test()) return false;
      this.#outcome = { value: this.#complete(this.#pending.result()) };
    } catch (error) {
      this.#outcome = { error };
    }
    return true;
  }

  fail(error: unknown): void {
    this.#outcome ??= { error };
  }
}

/** Control operations of one communicator, one at a time in call order, so that the k-th of every rank meet. */
export class ControlQueue {
  readonly #waiting: ControlTicket<unknown, unknown>[] = [];

  /** Appends an operation and advances the queue once. */
  add<T, R>(begin: () => Pending<T>, complete: (result: T) => R): ControlTicket<T, R> {
    const ticket = new ControlTicket<T, R>(this, begin, complete);
    this.#waiting.push(ticket as unknown as ControlTicket<unknown, unknown>);
    this.pump();
    return ticket;
  }

  pump(): void {
    while (this.#waiting.length > 0 && (this.#waiting[0] as ControlTicket<unknown, unknown>).advance()) {
      this.#waiting.shift();
    }
  }

  /** Ends all that wait with `error`. */
  fail(error: unknown): void {
    for (const ticket of this.#waiting) ticket.fail(error);
    this.#waiting.length = 0;
  }
}
