import { decodeTable } from './decode.js';
import { Fp8Error } from './errors.js';
import type { FormatName } from './format-spec.js';
import type { SafetensorsDtype } from './safetensors-dtype.js';

/** Element formats of the safetensors dtypes that {@link decodeTable} covers. */
export const dtypeFormats: { readonly [Dtype in SafetensorsDtype]?: FormatName } = Object.freeze({
  F8_E4M3: 'e4m3fn',
  F8_E5M2: 'e5m2',
  F8_E8M0: 'e8m0fnu',
  F8_E4M3FNUZ: 'e4m3fnuz',
  F8_E5M2FNUZ: 'e5m2fnuz',
  F16: 'f16',
} as const);

/**
 * Converts stored little-endian elements to float32.
 *
 * F64 and 64-bit integers are rounded to nearest; F4 is unpacked low nibble first, as torch packs it. C64 has no
 * float32 form, and the format leaves open how 6-bit elements are packed: both are an {@link Fp8Error}.
 *
 * @param raw - whole elements; `raw.byteOffset` a multiple of the element size.
 * @param out - one value per element.
 */
export function storedToFloat32(dtype: SafetensorsDtype, raw: Uint8Array, out: Float32Array): void {
  const { buffer, byteOffset } = raw;
  const n = out.length;
  switch (dtype) {
    case 'F32':
      out.set(new Float32Array(buffer, byteOffset, n));
      return;
    case 'F64':
      out.set(new Float64Array(buffer, byteOffset, n));
      return;
    case 'BF16':
      bf16ToFloat32(new Uint16Array(buffer, byteOffset, n), out);
      return;
    case 'F16':
      lookUp('f16', new Uint16Array(buffer, byteOffset, n), out);
      return;
    case 'F8_E4M3':
    case 'F8_E5M2':
    case 'F8_E8M0':
    case 'F8_E4M3FNUZ':
    case 'F8_E5M2FNUZ':
      lookUp(dtypeFormats[dtype]!, raw, out);
      return;
    case 'F4': {
      const table = decodeTable('e2m1fn');
      for (let i = 0; i < n; i++) out[i] = table[(raw[i >> 1]! >> ((i & 1) * 4)) & 15]!;
      return;
    }
    case 'BOOL':
    case 'U8':
      out.set(raw);
      return;
    case 'I8':
      out.set(new Int8Array(buffer, byteOffset, n));
      return;
    case 'I16':
      out.set(new Int16Array(buffer, byteOffset, n));
      return;
    case 'U16':
      out.set(new Uint16Array(buffer, byteOffset, n));
      return;
    case 'I32':
      out.set(new Int32Array(buffer, byteOffset, n));
      return;
    case 'U32':
      out.set(new Uint32Array(buffer, byteOffset, n));
      return;
    case 'I64':
      bigToFloat32(new BigInt64Array(buffer, byteOffset, n), out);
      return;
    case 'U64':
      bigToFloat32(new BigUint64Array(buffer, byteOffset, n), out);
      return;
    case 'C64':
    case 'F6_E2M3':
    case 'F6_E3M2':
      throw new Fp8Error({
        code: 'fp8/no-float32-form',
        message: `${dtype} tensors have no defined conversion to float32`,
        value: dtype,
        remedy: 'read the raw bytes and interpret them with what wrote the file',
      });
  }
}

function lookUp(format: FormatName, codes: Uint8Array | Uint16Array, out: Float32Array): void {
  const table = decodeTable(format);
  for (let i = 0; i < out.length; i++) out[i] = table[codes[i]!]!;
}

function bf16ToFloat32(codes: Uint16Array, out: Float32Array): void {
  const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
  let i = 0;
  if (codes.byteOffset % 4 === 0) {
    // Two codes a step, read as one word: half as slow again otherwise.
    const pairs = new Uint32Array(codes.buffer, codes.byteOffset, codes.length >> 1);
    for (let p = 0; p < pairs.length; p++) {
      const pair = pairs[p]!;
      bits[2 * p] = pair << 16;
      bits[2 * p + 1] = pair & 0xffff0000;
    }
    i = 2 * pairs.length;
  }
  for (; i < bits.length; i++) bits[i] = codes[i]! << 16;
}

function bigToFloat32(values: BigInt64Array | BigUint64Array, out: Float32Array): void {
  for (let i = 0; i < out.length; i++) out[i] = Number(values[i]);
}
