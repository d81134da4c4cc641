import type { Arena } from './arena.js';
import { OutOfMemoryError } from './errors.js';

type View = Float32Array | Float64Array | Int32Array | Uint8Array;

const ALIGNMENT = 64;

/**
 * Addresses of a call's operands: arena views stay where they are, other arrays are copied into working space and, for
 * outputs, back. One instance serves all calls of a `Kernels`, which are synchronous and never nest.
 */
export class Staging {
  readonly #arena: Arena;
  readonly #buffer: ArrayBufferLike;
  readonly #fixed: number;
  readonly #fixedBytes: number;
  #used: number = 0;
  readonly #outputs: View[] = [];
  readonly #copies: number[] = [];

  constructor(arena: Arena, scratch: Uint8Array | undefined) {
    this.#arena = arena;
    this.#buffer = arena.memory.buffer;
    this.#fixed = scratch === undefined ? 0 : Math.ceil(scratch.byteOffset / ALIGNMENT) * ALIGNMENT;
    this.#fixedBytes = scratch === undefined ? 0 : scratch.byteOffset + scratch.byteLength - this.#fixed;
  }

  /** Starts a call: forgets what the last one placed. */
  begin(): void {
    this.#used = 0;
    this.#outputs.length = 0;
    this.#copies.length = 0;
  }

  /** Address of `bytes` of working space. */
  reserve(bytes: number): number {
    const start = this.#used;
    const used = start + Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    this.#used = used;
    if (this.#fixed === 0) return this.#arena.transient(used) + start;
    if (used > this.#fixedBytes) throw new OutOfMemoryError('working space', used, this.#fixedBytes);
    return this.#fixed + start;
  }

  /** Address of an operand that is only read. */
  input(view: View): number {
    return view.buffer === this.#buffer ? view.byteOffset : this.#copy(view);
  }

  /** Address of an operand that is written (and may be read). */
  output(view: View): number {
    if (view.buffer === this.#buffer) return view.byteOffset;
    const address = this.#copy(view);
    this.#outputs.push(view);
    this.#copies.push(address);
    return address;
  }

  /** Copies outputs back. */
  end(): void {
    for (let i = 0; i < this.#outputs.length; i++) {
      const view = this.#outputs[i]!;
      bytesOf(view).set(new Uint8Array(this.#buffer, this.#copies[i]!, view.byteLength));
    }
  }

  #copy(view: View): number {
    const address = this.reserve(view.byteLength + 16);
    new Uint8Array(this.#buffer, address, view.byteLength).set(bytesOf(view));
    return address;
  }
}

function bytesOf(view: View): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
