import type { Runner } from './runner.js';
import type { NativeOperation } from './transport.js';

/** An operation of the engine below, between `start` and `close` like any other runner. */
export class NativeRunner implements Runner {
  readonly tagEnd = 0;
  readonly run?: (timeoutSeconds: number) => void;
  readonly #operation: NativeOperation;
  readonly #peers: readonly number[];

  constructor(operation: NativeOperation, rank: number, size: number) {
    this.#operation = operation;
    this.#peers = Array.from({ length: size }, (_, peer) => peer).filter((peer) => peer !== rank);
    if (operation.run !== undefined) this.run = operation.run.bind(operation);
  }

  start(): void {
    this.#operation.start();
  }

  test(): boolean {
    return this.#operation.test();
  }

  /** The engine does not tell for whom it waits. */
  missing(): readonly number[] {
    return this.#peers;
  }

  close(): void {
    this.#operation.close();
  }
}
