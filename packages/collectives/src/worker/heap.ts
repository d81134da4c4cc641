import { CollectivesError } from '../errors.js';
import { LINE_BYTES } from './layout.js';

/**
 * Allocator of one rank's part of the shared memory. Only the owning thread uses it, so it needs no locks; its bookkeeping lies outside the
 * shared memory, where no other thread can damage it.
 */
export class SegmentHeap {
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #end: number;
  /** Free ranges, ascending and never adjacent. */
  readonly #freeStart: number[];
  readonly #freeEnd: number[];
  readonly #sizes: Map<number, number> = new Map();
  /** Everything from here on was never handed out, hence is still zero. */
  #fresh: number;

  constructor(memory: ArrayBufferLike, start: number, end: number) {
    this.#bytes = new Uint8Array(memory);
    this.#start = start;
    this.#end = end;
    this.#freeStart = [start];
    this.#freeEnd = [end];
    this.#fresh = start;
  }

  /** Address of at least `bytes` zeroed bytes, aligned to 128. */
  allocate(bytes: number): number {
    const fresh = this.#fresh;
    const address = this.allocateDirty(bytes);
    this.#bytes.fill(0, address, Math.min(address + (this.#sizes.get(address) as number), fresh));
    return address;
  }

  /** As `allocate`, with whatever the bytes hold. */
  allocateDirty(bytes: number): number {
    if (!Number.isSafeInteger(bytes) || bytes < 0) {
      throw new CollectivesError({
        code: 'collectives/bad-shape',
        message: `expected a whole number of bytes, got ${bytes}`,
        value: bytes,
        remedy: 'pass a non-negative integer',
      });
    }
    const size = Math.max(LINE_BYTES, Math.ceil(bytes / LINE_BYTES) * LINE_BYTES);
    let best = -1;
    let bestRoom = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.#freeStart.length; i++) {
      const room = (this.#freeEnd[i] as number) - (this.#freeStart[i] as number);
      if (room >= size && room < bestRoom) {
        best = i;
        bestRoom = room;
      }
    }
    if (best < 0) {
      const free = this.freeBytes();
      throw new CollectivesError({
        code: 'collectives/out-of-memory',
        message: `expected ${bytes} free bytes in one piece of this rank's shared memory, got ${free.largest} (${free.total} in all)`,
        value: { requestedBytes: bytes, freeBytes: free.total, largestBytes: free.largest },
        remedy:
          'close plans and communicators that are not needed, or launch the ranks with a larger bytesPerRank',
      });
    }
    const address = this.#freeStart[best] as number;
    if (bestRoom === size) {
      this.#freeStart.splice(best, 1);
      this.#freeEnd.splice(best, 1);
    } else {
      this.#freeStart[best] = address + size;
    }
    this.#sizes.set(address, size);
    if (address + size > this.#fresh) this.#fresh = address + size;
    return address;
  }

  /** Frees what `allocate` gave at `address`; returns whether there was anything. */
  release(address: number): boolean {
    const size = this.#sizes.get(address);
    if (size === undefined) return false;
    this.#sizes.delete(address);
    const end = address + size;
    let low = 0;
    let high = this.#freeStart.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#freeStart[middle] as number) < address) low = middle + 1;
      else high = middle;
    }
    const joinsBefore = low > 0 && this.#freeEnd[low - 1] === address;
    const joinsAfter = low < this.#freeStart.length && this.#freeStart[low] === end;
    if (joinsBefore && joinsAfter) {
      this.#freeEnd[low - 1] = this.#freeEnd[low] as number;
      this.#freeStart.splice(low, 1);
      this.#freeEnd.splice(low, 1);
    } else if (joinsBefore) {
      this.#freeEnd[low - 1] = end;
    } else if (joinsAfter) {
      this.#freeStart[low] = address;
    } else {
      this.#freeStart.splice(low, 0, address);
      this.#freeEnd.splice(low, 0, end);
    }
    return true;
  }

  /** Whether `address` is the start of an allocation. */
  owns(address: number): boolean {
    return this.#sizes.has(address);
  }

  /** Bytes that are handed out. */
  get usedBytes(): number {
    return this.#end - this.#start - this.freeBytes().total;
  }

  /** Free bytes in all, and in the largest piece. */
  freeBytes(): { total: number; largest: number } {
    let total = 0;
    let largest = 0;
    for (let i = 0; i < this.#freeStart.length; i++) {
      const room = (this.#freeEnd[i] as number) - (this.#freeStart[i] as number);
      total += room;
      if (room > largest) largest = room;
    }
    return { total, largest };
  }
}
