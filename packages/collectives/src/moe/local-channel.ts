import { PrefixView } from '../communicator/prefix-view.js';
import type { ReceiveChannel, SendChannel, Transport } from '../communicator/transport.js';

/**
 * What a transport leaves out: a pair of channels from a rank to itself. A transfer is a copy, done when both ends have
 * started, and counts as a local delivery.
 */
export function openLocal(
  transport: Transport,
  source: Uint8Array,
  target: Uint8Array,
): { send: SendChannel; receive: ReceiveChannel } {
  const state = new LocalState(transport, source, target);
  return { send: new LocalSend(state), receive: new LocalReceive(state) };
}

class LocalState {
  readonly transport: Transport;
  readonly source: Uint8Array;
  readonly target: Uint8Array;
  sending = false;
  receiving = false;
  sentBytes = 0;
  receivedBytes = 0;
  readonly #part = new PrefixView();

  constructor(transport: Transport, source: Uint8Array, target: Uint8Array) {
    this.transport = transport;
    this.source = source;
    this.target = target;
  }

  deliver(): void {
    if (!this.sending || !this.receiving) return;
    this.target.set(this.#part.of(this.source, this.sentBytes));
    this.sending = false;
    this.receiving = false;
    this.receivedBytes = this.sentBytes;
    this.transport.counters.countSelf(this.sentBytes);
  }
}

class LocalSend implements SendChannel {
  readonly peer: number;
  readonly #state: LocalState;

  constructor(state: LocalState) {
    this.#state = state;
    this.peer = state.transport.rank;
  }

  get transferredBytes(): number {
    return this.#state.sentBytes;
  }

  start(bytes: number = this.#state.source.length): void {
    this.#state.sentBytes = bytes;
    this.#state.sending = true;
    this.#state.deliver();
  }

  test(): boolean {
    return !this.#state.sending;
  }

  close(): void {}
}

class LocalReceive implements ReceiveChannel {
  readonly peer: number;
  readonly #state: LocalState;

  constructor(state: LocalState) {
    this.#state = state;
    this.peer = state.transport.rank;
  }

  get transferredBytes(): number {
    return this.#state.receivedBytes;
  }

  start(): void {
    this.#state.receiving = true;
    this.#state.deliver();
  }

  test(): boolean {
    return !this.#state.receiving;
  }

  close(): void {}
}
