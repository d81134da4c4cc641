import { KernelsError, OutOfMemoryError } from './errors.js';
import { type WasmMemory, webAssembly } from './web-assembly.js';

const PAGE_BYTES = 65_536;
const ALIGNMENT = 64;
/** Nothing is placed below this address, so that 0 can mean "none". */
const RESERVED_BYTES = 1024;
/** Nothing is placed in the last bytes: vector loads may reach a little beyond the end of a view. */
const TAIL_BYTES = 256;
/** The most that 32-bit WebAssembly can address. */
export const MAXIMUM_ARENA_BYTES: number = 65_535 * PAGE_BYTES;

/** Options of {@link Arena.create}. */
export interface ArenaOptions {
  /** Size of the memory, rounded up to 64 KiB; pages are committed by the operating system when first written. */
  readonly maximumBytes: number;
  /** Use a shared memory, so that other threads can {@link Arena.attach}. Default false. */
  readonly shared?: boolean;
}

/** What another thread needs to see an allocation: plain data plus the (shared) memory, safe to post. */
export interface ArenaHandle {
  readonly memory: WasmMemory;
  readonly byteOffset: number;
  /** Length in bytes. */
  readonly length: number;
}

/** Element types of arena views. */
export interface ArenaViews {
  readonly f32: Float32Array;
  readonly i32: Int32Array;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
}

/**
 * One WebAssembly memory with a stack allocator: 64-byte aligned, zeroed views, released in reverse order.
 *
 * The memory never grows, so views stay valid until they are released. The thread that created the arena allocates;
 * others attach and see allocations through handles.
 *
 * @example
 * ```ts
 * import { Arena } from '@moestack/kernels';
 *
 * const arena = Arena.create({ maximumBytes: 1 << 20 });
 * const sum = arena.scope(() => arena.f32(4).fill(2).reduce((a, b) => a + b));
 * console.log(sum, arena.usedBytes);
 * ```
 */
export class Arena {
  readonly memory: WasmMemory;
  /** Whether the memory is a `SharedArrayBuffer`. */
  readonly shared: boolean;
  /** Size of the memory in bytes. */
  readonly capacityBytes: number;
  readonly #owner: boolean;
  readonly #limit: number;
  readonly #buffer: ArrayBuffer;
  #top: number = RESERVED_BYTES;
  /** Everything from here on was never used, hence is still zero. */
  #highWater: number = RESERVED_BYTES;

  private constructor(memory: WasmMemory, owner: boolean) {
    this.memory = memory;
    this.#buffer = memory.buffer as ArrayBuffer;
    this.shared =
      typeof SharedArrayBuffer !== 'undefined' && (memory.buffer as unknown) instanceof SharedArrayBuffer;
    this.capacityBytes = memory.buffer.byteLength;
    this.#owner = owner;
    this.#limit = this.capacityBytes - TAIL_BYTES;
  }

  /** Reserves a memory of `maximumBytes`. */
  static create(options: ArenaOptions): Arena {
    const { maximumBytes } = options;
    if (!Number.isSafeInteger(maximumBytes) || maximumBytes <= 0) {
      throw new KernelsError({
        code: 'kernels/bad-size',
        message: `expected a positive whole number for maximumBytes, got ${maximumBytes}`,
        value: maximumBytes,
        remedy: 'pass the number of bytes that weights, caches and activations need together',
      });
    }
    if (maximumBytes > MAXIMUM_ARENA_BYTES) {
      throw new KernelsError({
        code: 'kernels/memory-limit',
        message: `expected at most ${MAXIMUM_ARENA_BYTES} bytes (4 GiB - 64 KiB) in one arena, got ${maximumBytes}`,
        value: maximumBytes,
        remedy: `use more ranks, at least ${Math.ceil(maximumBytes / MAXIMUM_ARENA_BYTES)}: each has an arena of its own`,
      });
    }
    const pages = Math.ceil(maximumBytes / PAGE_BYTES);
    let memory: WasmMemory;
    try {
      memory = new (webAssembly().Memory)({
        initial: pages,
        maximum: pages,
        shared: options.shared ?? false,
      });
    } catch (cause) {
      throw new KernelsError({
        code: 'kernels/memory-refused',
        message: `the system refused a memory of ${maximumBytes} bytes`,
        value: maximumBytes,
        remedy: 'free address space or memory, or ask for less',
        cause,
      });
    }
    return new Arena(memory, true);
  }

  /** Another thread's view of a memory: it can turn handles into views, but not allocate. */
  static attach(memory: WasmMemory): Arena {
    return new Arena(memory, false);
  }

  /** Bytes in use, with padding and the reserved start. */
  get usedBytes(): number {
    return this.#top;
  }

  /** Bytes still free. */
  get freeBytes(): number {
    return this.#limit - this.#top;
  }

  /** Whether this object may allocate; false after {@link Arena.attach}. */
  get canAllocate(): boolean {
    return this.#owner;
  }

  /** A zeroed float32 view. */
  f32(length: number): Float32Array {
    return new Float32Array(this.#buffer, this.#allocate(length, 4), length);
  }

  /** A zeroed int32 view. */
  i32(length: number): Int32Array {
    return new Int32Array(this.#buffer, this.#allocate(length, 4), length);
  }

  /** A zeroed byte view. */
  u8(length: number): Uint8Array {
    return new Uint8Array(this.#buffer, this.#allocate(length, 1), length);
  }

  /** A zeroed uint16 view. */
  u16(length: number): Uint16Array {
    return new Uint16Array(this.#buffer, this.#allocate(length, 2), length);
  }

  /** A zeroed uint32 view. */
  u32(length: number): Uint32Array {
    return new Uint32Array(this.#buffer, this.#allocate(length, 4), length);
  }

  /** The current height of the stack, for {@link Arena.release}. */
  mark(): number {
    return this.#top;
  }

  /** Frees everything allocated since `mark`; views made since then must not be used any more. */
  release(mark: number): void {
    if (!Number.isInteger(mark) || mark < RESERVED_BYTES || mark > this.#top || mark % ALIGNMENT !== 0) {
      throw new KernelsError({
        code: 'kernels/bad-mark',
        message: `expected a mark between ${RESERVED_BYTES} and ${this.#top}, got ${mark}`,
        value: mark,
        remedy: 'release marks in the reverse order of mark(), each once',
      });
    }
    this.#top = mark;
  }

  /** Runs `body` and frees what it allocated, also when it throws. */
  scope<T>(body: () => T): T {
    const mark = this.#top;
    try {
      return body();
    } finally {
      this.#top = mark;
    }
  }

  /** Whether a view lies in this arena's memory. */
  owns(view: ArrayBufferView): boolean {
    return view.buffer === this.#buffer;
  }

  /** What another thread needs to see `view`. */
  handle(view: ArrayBufferView): ArenaHandle {
    if (view.buffer !== this.#buffer) {
      throw new KernelsError({
        code: 'kernels/foreign-view',
        message: 'expected a view of this arena, got one of another buffer',
        value: view.byteLength,
        remedy: 'allocate the array with arena.f32() or its siblings',
      });
    }
    return { memory: this.memory, byteOffset: view.byteOffset, length: view.byteLength };
  }

  /** The view that a handle describes. */
  view<K extends keyof ArenaViews>(handle: ArenaHandle, kind: K): ArenaViews[K] {
    const size = kind === 'u8' ? 1 : kind === 'u16' ? 2 : 4;
    const { byteOffset, length } = handle;
    const end = byteOffset + length;
    if (
      !(byteOffset >= RESERVED_BYTES) ||
      !(end <= this.capacityBytes) ||
      byteOffset % size !== 0 ||
      length % size !== 0
    ) {
      throw new KernelsError({
        code: 'kernels/bad-handle',
        message: `expected a handle to ${kind} data within ${this.capacityBytes} bytes, got offset ${byteOffset}, length ${length}`,
        value: { byteOffset, length },
        remedy: 'pass the handle that arena.handle() made for this memory',
      });
    }
    const count = length / size;
    const views = {
      f32: () => new Float32Array(this.#buffer, byteOffset, count),
      i32: () => new Int32Array(this.#buffer, byteOffset, count),
      u8: () => new Uint8Array(this.#buffer, byteOffset, count),
      u16: () => new Uint16Array(this.#buffer, byteOffset, count),
      u32: () => new Uint32Array(this.#buffer, byteOffset, count),
    } satisfies { [P in keyof ArenaViews]: () => ArenaViews[P] };
    return views[kind]() as ArenaViews[K];
  }

  /**
   * Offset of `bytes` of working space above the stack, for kernels: whatever is allocated or computed next may
   * overwrite it.
   */
  transient(bytes: number): number {
    if (!this.#owner) {
      throw new KernelsError({
        code: 'kernels/no-scratch',
        message: 'an attached arena has no working space of its own',
        value: bytes,
        remedy: 'allocate a scratch array on the owning thread and pass it: new Kernels(arena, { scratch })',
      });
    }
    const end = this.#top + bytes;
    if (end > this.#limit) throw new OutOfMemoryError('working space', bytes, this.#limit - this.#top);
    if (end > this.#highWater) this.#highWater = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
    return this.#top;
  }

  #allocate(length: number, elementBytes: number): number {
    const bytes = length * elementBytes;
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new KernelsError({
        code: 'kernels/bad-size',
        message: `expected a whole number of elements, got ${length}`,
        value: length,
        remedy: 'pass a non-negative integer',
      });
    }
    if (!this.#owner) {
      throw new KernelsError({
        code: 'kernels/not-owner',
        message: 'an attached arena cannot allocate',
        value: bytes,
        remedy: 'allocate on the thread that created the arena and pass a handle',
      });
    }
    const start = this.#top;
    const end = start + Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    if (end > this.#limit) throw new OutOfMemoryError('an allocation', bytes, this.#limit - start);
    this.#top = end;
    if (start < this.#highWater) {
      new Uint8Array(this.#buffer, start, Math.min(end, this.#highWater) - start).fill(0);
    }
    if (end > this.#highWater) this.#highWater = end;
    return start;
  }
}
