import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { decodeBase64, encodeBase64, Float32Base64, Int32Base64, Uint16Base64 } from './typed-arrays.js';

describe('base64', () => {
  it('round-trips any bytes, as Buffer does', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70_000 }), (bytes) => {
        const text = encodeBase64(bytes);
        expect(text).toBe(Buffer.from(bytes).toString('base64'));
        expect(decodeBase64(text)).toEqual(bytes);
      }),
      { seed: 3, numRuns: 40 },
    );
  });
});

describe('typed-array codecs', () => {
  it('round-trip the bits, NaN payloads and views into bigger buffers included', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 256 }), (bytes) => {
        const whole = new Uint8Array((bytes.length & ~3) + 8);
        whole.set(bytes.subarray(0, bytes.length & ~3), 4);
        const view = new Float32Array(whole.buffer, 4, bytes.length >> 2);
        const back = z.decode(Float32Base64, z.encode(Float32Base64, view));
        expect(new Uint8Array(back.buffer)).toEqual(whole.slice(4, 4 + view.byteLength));
      }),
      { seed: 4 },
    );
  });

  it('refuse text that is no base64, ragged lengths and other values', () => {
    expect(Float32Base64.safeParse('AAA').success).toBe(false);
    expect(Float32Base64.safeParse('AAAA').success).toBe(false);
    expect(Uint16Base64.safeParse('AA==').success).toBe(false);
    expect(Int32Base64.safeParse('****').success).toBe(false);
    expect(Int32Base64.safeParse([1, 2]).success).toBe(false);
    expect(Int32Base64.parse('AQAAAP////8=')).toEqual(new Int32Array([1, -1]));
  });
});
