import { z } from 'zod';

/** Longest base64 text that a typed-array codec accepts (64 MiB of data); bigger arrays belong in a safetensors sidecar. */
export const MAX_BASE64_LENGTH = 89_478_488;

const base64Text = z
  .string()
  .max(MAX_BASE64_LENGTH)
  .regex(/^[A-Za-z0-9+/]*={0,2}$/, 'expected base64')
  .refine((text) => text.length % 4 === 0, 'expected base64 whose length is a multiple of 4');

const CHUNK = 0x8000;

/** Base64 (RFC 4648, padded) of bytes; runs in browsers and Node alike. */
export function encodeBase64(bytes: Uint8Array): string {
  let binary = '';
  for (let start = 0; start < bytes.length; start += CHUNK) {
    binary += String.fromCharCode(...bytes.subarray(start, start + CHUNK));
  }
  return btoa(binary);
}

/** Bytes of padded base64 text. */
export function decodeBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return bytes;
}

interface TypedArrayClass<T extends ArrayBufferView> {
  readonly name: string;
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer): T;
}

function typedArrayCodec<T extends ArrayBufferView>(type: TypedArrayClass<T>) {
  const view = z.custom<T>((value) => value instanceof type, {
    error: `expected a ${type.name}`,
  });
  return z.codec(base64Text, view, {
    decode: (text, context) => {
      const bytes = decodeBase64(text);
      if (bytes.length % type.BYTES_PER_ELEMENT !== 0) {
        context.issues.push({
          code: 'custom',
          input: text.length,
          message: `expected a multiple of ${type.BYTES_PER_ELEMENT} bytes for ${type.name}, got ${bytes.length}`,
        });
        return z.NEVER;
      }
      return new type(bytes.buffer as ArrayBuffer);
    },
    encode: (array) => encodeBase64(new Uint8Array(array.buffer, array.byteOffset, array.byteLength)),
  });
}

/** Little-endian float32 array as base64 text in JSON. */
export const Float32Base64 = typedArrayCodec<Float32Array>(Float32Array);
/** Little-endian float64 array as base64 text in JSON. */
export const Float64Base64 = typedArrayCodec<Float64Array>(Float64Array);
/** Little-endian int32 array as base64 text in JSON: token ids, expert ids (-1 = none). */
export const Int32Base64 = typedArrayCodec<Int32Array>(Int32Array);
/** Little-endian uint16 array as base64 text in JSON: bfloat16 bits, 16-bit codes. */
export const Uint16Base64 = typedArrayCodec<Uint16Array>(Uint16Array);
/** Bytes as base64 text in JSON. */
export const Uint8Base64 = typedArrayCodec<Uint8Array>(Uint8Array);
