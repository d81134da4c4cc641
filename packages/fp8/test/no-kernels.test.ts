import { generator, normal } from '@moestack/fixtures';
import { expect, test, vi } from 'vitest';
import * as fp8 from '../src/index.js';
import { bits } from './golden-arrays.js';

test('where the engine refuses the kernels, the scalar paths give the same bits', async () => {
  vi.resetModules();
  vi.doMock('@moestack/kernels', async (original) => {
    const kernels = await original<typeof import('@moestack/kernels')>();
    class Refused {
      constructor() {
        throw new kernels.KernelsError({ code: 'kernels/no-simd', message: 'refused', remedy: 'none' });
      }
    }
    return { ...kernels, Fp8Kernels: Refused };
  });
  try {
    const scalar = (await import('../src/index.js')) as typeof fp8;
    expect(scalar.encode).not.toBe(fp8.encode);
    const random = generator(1);
    const [m, n, k] = [20, 30, 300];
    const [x, w] = [normal(m * k, random), normal(n * k, random)];
    expect(scalar.encode('e4m3fn', x)).toEqual(fp8.encode('e4m3fn', x));
    for (const name of ['deepseek-v3', 'mxfp8', 'bf16'] as const) {
      const run = (library: typeof fp8): Float32Array[] => {
        const layer = new library.Fp8Linear({
          inFeatures: k,
          outFeatures: n,
          recipe: library.recipe(name),
        });
        const y = layer.forward(x, w);
        const { inputGradient, weightGradient } = layer.backward(y);
        return [y, inputGradient, weightGradient];
      };
      expect(run(scalar).map(bits)).toEqual(run(fp8).map(bits));
    }
  } finally {
    vi.doUnmock('@moestack/kernels');
    vi.resetModules();
  }
});
