/**
 * Element types of collectives. `bf16` and `f16` travel as raw 16-bit codes in a Uint16Array; `u8` is opaque bytes, which
 * can be moved but not reduced.
 */
export type Dtype = 'f32' | 'bf16' | 'f16' | 'i32' | 'u8';

/** Typed array that carries elements of a {@link Dtype}. */
export type DtypeArray = Float32Array | Uint16Array | Int32Array | Uint8Array;

/**
 * How {@link Dtype} elements are combined.
 *
 * Each pairwise step computes `left ⊕ right` in float32 (i32: in 32-bit integers, sums wrap around) and rounds once, to
 * nearest even, to the dtype. `max` and `min` return NaN when either operand is NaN and order -0 below +0. The sign and payload of a NaN
 * result are not specified.
 */
export type Reduction = 'sum' | 'max' | 'min';

/** Bytes of one element. */
export function bytesPerElement(dtype: Dtype): number {
  return dtype === 'u8' ? 1 : dtype === 'bf16' || dtype === 'f16' ? 2 : 4;
}

/** Views `bytes` (suitably aligned) as elements of `dtype`, without copying. */
export function viewAs(dtype: Dtype, bytes: Uint8Array): DtypeArray {
  const length = bytes.byteLength / bytesPerElement(dtype);
  switch (dtype) {
    case 'f32':
      return new Float32Array(bytes.buffer, bytes.byteOffset, length);
    case 'i32':
      return new Int32Array(bytes.buffer, bytes.byteOffset, length);
    case 'u8':
      return bytes;
    default:
      return new Uint16Array(bytes.buffer, bytes.byteOffset, length);
  }
}
