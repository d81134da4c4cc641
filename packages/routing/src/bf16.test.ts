import { describe, expect, it } from 'vitest';
import { roundToBf16 } from './bf16.js';

describe('roundToBf16', () => {
  it('keeps every bfloat16 value and rounds the middle of two neighbours to even', () => {
    const word = new Uint32Array(1);
    const value = new Float32Array(word.buffer);
    for (let code = 0; code < 0x7f7f; code++) {
      word[0] = code << 16;
      expect(roundToBf16(value[0]!)).toBe(value[0]);
      word[0] = (code << 16) | 0x8000;
      const middle = value[0]!;
      word[0] = (code + (code & 1)) << 16;
      expect(roundToBf16(middle)).toBe(value[0]);
      expect(roundToBf16(-middle)).toBe(-value[0]!);
    }
  });
});
