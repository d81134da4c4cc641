import type { Runner } from './runner.js';
import type { ReceiveChannel, SendChannel, Transport } from './transport.js';

/** One message to a rank; `counts[0]` elements of it are sent. */
export class SendRunner implements Runner {
  readonly tagEnd = 0;
  readonly #channel: SendChannel;
  readonly #counts: Int32Array;
  readonly #elementBytes: number;

  constructor(
    transport: Transport,
    peer: number,
    tag: number,
    source: Uint8Array,
    counts: Int32Array,
    elementBytes: number,
  ) {
    this.#channel = transport.openSend(peer, tag, source);
    this.#counts = counts;
    this.#elementBytes = elementBytes;
  }

  start(): void {
    this.#channel.start((this.#counts[0] as number) * this.#elementBytes);
  }

  test(): boolean {
    return this.#channel.test();
  }

  missing(): readonly number[] {
    return [this.#channel.peer];
  }

  close(): void {
    this.#channel.close();
  }
}

/** One message from a rank; `counts[0]` tells how many elements came. */
export class ReceiveRunner implements Runner {
  readonly tagEnd = 0;
  readonly #channel: ReceiveChannel;
  readonly #counts: Int32Array;
  readonly #elementBytes: number;

  constructor(
    transport: Transport,
    peer: number,
    tag: number,
    target: Uint8Array,
    counts: Int32Array,
    elementBytes: number,
  ) {
    this.#channel = transport.openReceive(peer, tag, target);
    this.#counts = counts;
    this.#elementBytes = elementBytes;
  }

  start(): void {
    this.#channel.start();
  }

  test(): boolean {
    if (!this.#channel.test()) return false;
    this.#counts[0] = this.#channel.transferredBytes / this.#elementBytes;
    return true;
  }

  missing(): readonly number[] {
    return [this.#channel.peer];
  }

  close(): void {
    this.#channel.close();
  }
}
