import { generator, normal } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import { Arena } from './arena.js';
import { Kernels } from './kernels.js';
import * as reference from './reference/index.js';

const kernels = new Kernels(Arena.create({ maximumBytes: 1 << 20 }));

describe('quantizeActivations', () => {
  it.each(['f32', 'powerOfTwo'] as const)('equals the reference at ragged sizes (%s)', (scale) => {
    const random = generator(7);
    for (const k of [1, 3, 5, 24, 70, 127, 128, 129, 200, 256, 384]) {
      for (const magnitude of [1e-6, 1, 1e4, 1e30]) {
        const x = normal(3 * (k + 2), random, magnitude);
        x[0] = -0;
        const blocks = Math.ceil(k / 128);
        const [codes, expectedCodes] = [new Uint8Array(3 * k), new Uint8Array(3 * k)];
        const [scales, expectedScales] = [new Float32Array(3 * blocks), new Float32Array(3 * blocks)];
        reference.quantizeActivations(x, expectedCodes, expectedScales, 3, k, { scale, xStride: k + 2 });
        kernels.quantizeActivations(x, codes, scales, 3, k, { scale, xStride: k + 2 });
        expect(codes).toEqual(expectedCodes);
        expect(scales).toEqual(expectedScales);
      }
    }
  });

  it('rounds every midpoint between codes to even, and its neighbours to the nearer code', () => {
    const values: number[] = [];
    const words = new Uint32Array(1);
    const float = new Float32Array(words.buffer);
    for (let code = 0; code < 0x7e; code++) {
      const middle = (reference.decodeE4m3(code) + reference.decodeE4m3(code + 1)) / 2;
      float[0] = middle;
      const bits = words[0]!;
      for (const neighbour of [bits - 1, bits, bits + 1]) {
        words[0] = neighbour;
        values.push(float[0]!, -float[0]!);
      }
    }
    for (let start = 0; start < values.length; start += 127) {
      // 448 in each tile makes the scale exactly 1.
      const x = Float32Array.from([448, ...values.slice(start, start + 127)]);
      const codes = new Uint8Array(x.length);
      const scales = new Float32Array(1);
      kernels.quantizeActivations(x, codes, scales, 1, x.length);
      expect(scales[0]).toBe(1);
      expect(codes).toEqual(Uint8Array.from(x, reference.encodeE4m3));
    }
  });

  it('gives NaN codes to NaN and to infinity, and zero beside infinity', () => {
    const codes = new Uint8Array(4);
    const scales = new Float32Array(1);
    kernels.quantizeActivations(Float32Array.of(1, Number.NaN, 2, 0), codes, scales, 1, 4);
    expect([...codes]).toEqual([reference.encodeE4m3(1 / scales[0]!), 0x7f, 0x7e, 0]);
    kernels.quantizeActivations(Float32Array.of(1, Infinity, 2, 0), codes, scales, 1, 4);
    expect([...codes]).toEqual([0, 0x7f, 0, 0]);
  });
});
