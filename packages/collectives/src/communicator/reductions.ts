import { reference } from '@moestack/kernels';
import { CollectivesError } from '../errors.js';
import { type Dtype, type Reduction, viewAs } from './dtype.js';
import type { BoundReduction, Transport } from './transport.js';

const CANONICAL_NAN = 0x7fc00000;

/** Binds `target = left ⊕ right`: the transport's own kernel where it has one for these operands, else scalar code with the same bits. */
export function bindReduction(
  transport: Transport,
  dtype: Dtype,
  reduction: Reduction,
  target: Uint8Array,
  left: Uint8Array,
  right: Uint8Array,
): BoundReduction {
  const own = transport.bindReduction?.(dtype, reduction, target, left, right);
  if (own !== undefined) return own;
  if (dtype === 'f32') return new Float32Reduction(reduction, target, left, right);
  if (dtype === 'i32') return new Int32Reduction(reduction, target, left, right);
  if (dtype === 'u8') throw opaque();
  return new HalfReduction(dtype, reduction, target, left, right);
}

function opaque(): CollectivesError {
  return new CollectivesError({
    code: 'collectives/unsupported',
    message: 'expected f32, bf16, f16 or i32 for a reduction, got u8',
    value: 'u8',
    remedy: 'u8 carries opaque bytes: move them, or choose the dtype of what they hold',
  });
}

class Float32Reduction implements BoundReduction {
  readonly #reduction: Reduction;
  readonly #target: Float32Array;
  readonly #bits: Uint32Array;
  readonly #left: Float32Array;
  readonly #right: Float32Array;

  constructor(reduction: Reduction, target: Uint8Array, left: Uint8Array, right: Uint8Array) {
    this.#reduction = reduction;
    this.#target = viewAs('f32', target) as Float32Array;
    this.#bits = new Uint32Array(target.buffer, target.byteOffset, this.#target.length);
    this.#left = viewAs('f32', left) as Float32Array;
    this.#right = viewAs('f32', right) as Float32Array;
  }

  run(): void {
    if (this.#reduction === 'sum') addFloats(this.#target, this.#bits, this.#left, this.#right);
    else if (this.#reduction === 'max') maxFloats(this.#target, this.#bits, this.#left, this.#right);
    else minFloats(this.#target, this.#bits, this.#left, this.#right);
  }
}

function addFloats(target: Float32Array, bits: Uint32Array, left: Float32Array, right: Float32Array): void {
  const length = target.length;
  for (let index = 0; index < length; index++) {
    const value = (left[index] as number) + (right[index] as number);
    target[index] = value;
    // biome-ignore lint/suspicious/noSelfCompare: NaN alone differs from itself, and Number.isNaN is slower here.
    if (value !== value) bits[index] = CANONICAL_NAN;
  }
}

function maxFloats(target: Float32Array, bits: Uint32Array, left: Float32Array, right: Float32Array): void {
  for (let index = 0; index < target.length; index++) {
    const value = Math.max(left[index] as number, right[index] as number);
    target[index] = value;
    if (Number.isNaN(value)) bits[index] = CANONICAL_NAN;
  }
}

function minFloats(target: Float32Array, bits: Uint32Array, left: Float32Array, right: Float32Array): void {
  for (let index = 0; index < target.length; index++) {
    const value = Math.min(left[index] as number, right[index] as number);
    target[index] = value;
    if (Number.isNaN(value)) bits[index] = CANONICAL_NAN;
  }
}

class Int32Reduction implements BoundReduction {
  readonly #reduction: Reduction;
  readonly #target: Int32Array;
  readonly #left: Int32Array;
  readonly #right: Int32Array;

  constructor(reduction: Reduction, target: Uint8Array, left: Uint8Array, right: Uint8Array) {
    this.#reduction = reduction;
    this.#target = viewAs('i32', target) as Int32Array;
    this.#left = viewAs('i32', left) as Int32Array;
    this.#right = viewAs('i32', right) as Int32Array;
  }

  run(): void {
    reference.reduce('i32', this.#reduction, this.#left, this.#right, this.#target, this.#target.length);
  }
}

class HalfReduction implements BoundReduction {
  readonly #dtype: 'bf16' | 'f16';
  readonly #reduction: Reduction;
  readonly #target: Uint16Array;
  readonly #left: Uint16Array;
  readonly #right: Uint16Array;

  constructor(
    dtype: 'bf16' | 'f16',
    reduction: Reduction,
    target: Uint8Array,
    left: Uint8Array,
    right: Uint8Array,
  ) {
    this.#dtype = dtype;
    this.#reduction = reduction;
    this.#target = viewAs(dtype, target) as Uint16Array;
    this.#left = viewAs(dtype, left) as Uint16Array;
    this.#right = viewAs(dtype, right) as Uint16Array;
  }

  run(): void {
    reference.reduce(
      this.#dtype,
      this.#reduction,
      this.#left,
      this.#right,
      this.#target,
      this.#target.length,
    );
  }
}

/** A copy bound to its operands. */
export class BoundCopy implements BoundReduction {
  readonly #target: Uint8Array;
  readonly #source: Uint8Array;

  constructor(target: Uint8Array, source: Uint8Array) {
    this.#target = target;
    this.#source = source;
  }

  run(): void {
    this.#target.set(this.#source);
  }
}
