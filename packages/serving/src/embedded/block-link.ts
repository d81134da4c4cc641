import type { MessagePort } from 'node:worker_threads';
import type { LinkMessage } from './protocol.js';

/** What a {@link BlockLink} needs of a model. */
export interface BlockRuntime {
  readonly blockBytes: number;
  exportBlocks(blocks: Int32Array, count: number, out?: Uint8Array): Uint8Array;
  importBlocks(blocks: Int32Array, count: number, bytes: Uint8Array): void;
}

const maxIdleBuffers = 8;

/**
 * Moves KV blocks between two workers: the bytes leave one memory, change hands, and are written into the other.
 * Neither thread waits; buffers go back and forth.
 */
export class BlockLink {
  readonly #runtime: BlockRuntime;
  readonly #port: MessagePort;
  readonly #idle: ArrayBuffer[] = [];
  readonly #arrived = new Map<number, { bytes: ArrayBuffer; length: number }>();
  readonly #expected = new Map<number, (payload: { bytes: ArrayBuffer; length: number }) => void>();

  constructor(runtime: BlockRuntime, port: MessagePort) {
    this.#runtime = runtime;
    this.#port = port;
    port.on('message', (message: LinkMessage) => this.#receive(message));
  }

  /** Sends copies of `blocks`. */
  send(transfer: number, blocks: Int32Array): void {
    const length = blocks.length * this.#runtime.blockBytes;
    const bytes = this.#take(length);
    this.#runtime.exportBlocks(blocks, blocks.length, new Uint8Array(bytes, 0, length));
    const message: LinkMessage = { type: 'blocks', transfer, bytes, length };
    this.#port.postMessage(message, [bytes]);
  }

  /**
   * Writes what arrives under `transfer` into `blocks`, in the order they were sent.
   *
   * @param onDone - called with the bytes written, at once if they are here already; with the error otherwise.
   */
  receive(transfer: number, blocks: Int32Array, onDone: (bytes: number, error?: unknown) => void): void {
    const write = (payload: { bytes: ArrayBuffer; length: number }) => {
      try {
        this.#runtime.importBlocks(blocks, blocks.length, new Uint8Array(payload.bytes, 0, payload.length));
      } catch (error) {
        onDone(0, error);
        return;
      }
      const message: LinkMessage = { type: 'reuse', bytes: payload.bytes };
      this.#port.postMessage(message, [payload.bytes]);
      onDone(payload.length);
    };
    const payload = this.#arrived.get(transfer);
    if (payload === undefined) {
      this.#expected.set(transfer, write);
      return;
    }
    this.#arrived.delete(transfer);
    write(payload);
  }

  #receive(message: LinkMessage): void {
    if (message.type === 'reuse') {
      if (this.#idle.length < maxIdleBuffers) this.#idle.push(message.bytes);
      return;
    }
    const write = this.#expected.get(message.transfer);
    if (write === undefined) {
      this.#arrived.set(message.transfer, message);
      return;
    }
    this.#expected.delete(message.transfer);
    write(message);
  }

  #take(length: number): ArrayBuffer {
    const index = this.#idle.findIndex((buffer) => buffer.byteLength >= length);
    if (index < 0) return new ArrayBuffer(length);
    return this.#idle.splice(index, 1)[0]!;
  }
}
