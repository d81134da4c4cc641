import type { Arena } from './arena.js';
import { instantiate, type KernelExports } from './binary.js';
import { needCount, needLength } from './checks.js';
import { KernelsError } from './errors.js';
import type { ReduceDtype, ReduceOperation } from './reference/reduce.js';
import { Staging } from './staging.js';
import type { KernelsOptions } from './types.js';

const dtypes: readonly ReduceDtype[] = ['f32', 'bf16', 'f16', 'i32'];
const operations: readonly ReduceOperation[] = ['sum', 'max', 'min'];
/** Arrays that {@link ReduceKernels.reduce} takes: bf16 and f16 are codes in a Uint16Array. */
export type ReduceElements = Float32Array | Uint16Array | Int32Array;

/**
 * Reduction and copying of communication buffers over one {@link Arena}, private or shared.
 *
 * `...At` methods take byte offsets into the arena's memory, are meant for other threads' regions too, and allocate nothing; the
 * others take arrays: views of the arena in place, other arrays copied in and out. Results equal {@link reference} bit for bit.
 *
 * @example
 * ```ts
 * import { Arena, ReduceKernels } from '@moestack/kernels';
 *
 * const arena = Arena.create({ maximumBytes: 1 << 20, shared: true });
 * const kernels = new ReduceKernels(arena);
 * const [a, b] = [arena.f32(4).fill(1), arena.f32(4).fill(2)];
 * kernels.reduce('f32', 'sum', a, b, a, 4);
 * console.log(a[0]); // 3
 * ```
 */
export class ReduceKernels {
  readonly arena: Arena;
  readonly #wasm: KernelExports;
  readonly #capacity: number;
  readonly #scratch: Uint8Array | undefined;
  #staging: Staging | undefined;

  /** Instantiates the inlined binary against the arena's memory, synchronously. */
  constructor(arena: Arena, options: KernelsOptions = {}) {
    this.arena = arena;
    this.#wasm = instantiate(arena.memory, arena.shared);
    this.#capacity = arena.capacityBytes;
    this.#scratch = options.scratch;
  }

  /** The number of a dtype for {@link ReduceKernels.reduceAt}. */
  static dtypeCode(dtype: ReduceDtype): number {
    return position('dtype', dtypes, dtype);
  }

  /** The number of an operation for {@link ReduceKernels.reduceAt}. */
  static operationCode(operation: ReduceOperation): number {
    return position('operation', operations, operation);
  }

  /** out = a op b on `n` elements; out may be a or b, but not overlap them otherwise. */
  reduce(
    dtype: ReduceDtype,
    operation: ReduceOperation,
    a: ReduceElements,
    b: ReduceElements,
    out: ReduceElements,
    n: number,
  ): void {
    const dtypeCode = ReduceKernels.dtypeCode(dtype);
    const operationCode = ReduceKernels.operationCode(operation);
    needElements(dtype, 'a', a, n);
    needElements(dtype, 'b', b, n);
    needElements(dtype, 'out', out, n);
    const staging = this.#begin();
    const first = staging.input(bytesOf(a));
    const second = staging.input(bytesOf(b));
    this.#wasm.reduce(
      dtypeCode,
      operationCode,
      first,
      second,
      staging.output(bytesOf(out)),
      n * out.BYTES_PER_ELEMENT,
    );
    staging.end();
  }

  /** The same on `bytes` bytes at byte offsets of the memory; codes from `dtypeCode` and `operationCode`. */
  reduceAt(dtypeCode: number, operationCode: number, a: number, b: number, out: number, bytes: number): void {
    this.#need(a, bytes);
    this.#need(b, bytes);
    this.#need(out, bytes);
    this.#wasm.reduce(dtypeCode, operationCode, a, b, out, bytes);
  }

  /** Copies `bytes` bytes between byte offsets of the memory, which may overlap. */
  copyAt(from: number, to: number, bytes: number): void {
    this.#need(from, bytes);
    this.#need(to, bytes);
    this.#wasm.copyBytes(from, to, bytes);
  }

  /** bfloat16 codes of `n` floats, ties to even; NaN becomes 0x7fc0. */
  packBf16(x: Float32Array, out: Uint16Array, n: number): void {
    needElements('f32', 'x', x, n);
    needElements('bf16', 'out', out, n);
    const staging = this.#begin();
    const from = staging.input(x);
    this.#wasm.packBf16(from, staging.output(bytesOf(out)), n);
    staging.end();
  }

  /** Floats of `n` bfloat16 codes. */
  unpackBf16(x: Uint16Array, out: Float32Array, n: number): void {
    needElements('bf16', 'x', x, n);
    needElements('f32', 'out', out, n);
    const staging = this.#begin();
    const from = staging.input(bytesOf(x));
    this.#wasm.unpackBf16(from, staging.output(out), n);
    staging.end();
  }

  #begin(): Staging {
    const staging = (this.#staging ??= new Staging(this.arena, this.#scratch));
    staging.begin();
    return staging;
  }

  #need(offset: number, bytes: number): void {
    // One comparison a bound also refuses NaN.
    if (!(offset >= 0 && bytes >= 0 && offset + bytes <= this.#capacity)) {
      throw new KernelsError({
        code: 'kernels/bad-range',
        message: `expected bytes within 0 and ${this.#capacity}, got ${bytes} bytes at ${offset}`,
        value: { offset, bytes },
        remedy: "pass byteOffset and byteLength of views of this arena's memory",
      });
    }
  }
}

function position<T extends string>(what: string, names: readonly T[], name: T): number {
  const index = names.indexOf(name);
  if (index < 0) {
    throw new KernelsError({
      code: 'kernels/bad-name',
      message: `expected a ${what} among ${names.join(', ')}, got ${String(name)}`,
      value: name,
      remedy: `pass one of the names`,
    });
  }
  return index;
}

function needElements(dtype: ReduceDtype, name: string, view: ReduceElements, n: number): void {
  const kind = dtype === 'f32' ? Float32Array : dtype === 'i32' ? Int32Array : Uint16Array;
  needCount('n', n, 0);
  if (!(view instanceof kind)) {
    throw new KernelsError({
      code: 'kernels/bad-type',
      message: `expected a ${kind.name} for ${name} of dtype ${dtype}, got ${(view as object)?.constructor?.name}`,
      value: dtype,
      remedy: 'bf16 and f16 are codes in a Uint16Array',
    });
  }
  needLength(name, view, n);
}

function bytesOf(view: ReduceElements): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
