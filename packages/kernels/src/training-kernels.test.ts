import { generator, normal } from '@moestack/fixtures';
import { describe, expect, it } from 'vitest';
import { Arena } from './arena.js';
import * as reference from './reference/index.js';
import { TrainingKernels } from './training-kernels.js';

const kernels = new TrainingKernels(Arena.create({ maximumBytes: 1 << 22 }));
const random = generator(11);
const shapes = [
  [1, 1],
  [3, 2],
  [4, 4],
  [5, 7],
  [9, 16],
  [16, 33],
  [13, 130],
] as const;

const copies = (x: Float32Array): [Float32Array, Float32Array] => [x.slice(), x.slice()];

/** Largest difference, relative to the larger of 1 and the expected value. */
function distance(actual: Float32Array, expected: Float32Array): number {
  return actual.reduce(
    (most, v, i) => Math.max(most, Math.abs(v - expected[i]!) / Math.max(1, Math.abs(expected[i]!))),
    0,
  );
}

describe.each(shapes)('training kernels on [%i, %i]', (rows, cols) => {
  const size = rows * cols;
  const x = normal(size, random, 1);
  const y = normal(size, random, 1);

  it('move and add exactly as the reference', () => {
    const stride = cols + 3;
    const strided = normal(rows * stride, random, 1);
    const [a, b] = copies(x);
    kernels.transpose(strided, a, rows, cols, stride);
    reference.transpose(strided, b, rows, cols, stride);
    expect(a).toEqual(b);
    const factors = normal(rows, random, 1);
    const [c, d] = copies(x);
    kernels.scaleRows(c, factors, rows, cols);
    reference.scaleRows(d, factors, rows, cols);
    expect(c).toEqual(d);
    const [e, g] = copies(factors);
    kernels.rowDots(x, y, e, rows, cols);
    reference.rowDots(x, y, g, rows, cols);
    expect(e).toEqual(g);
    expect(kernels.sumSquares(x, size)).toBe(reference.sumSquares(x, size));
  });

  it('give softmax and norm gradients exactly as the reference', () => {
    const p = x.map(Math.abs);
    const [a, b] = copies(y);
    kernels.softmaxBackward(p, a, rows, cols, 0.3);
    reference.softmaxBackward(p, b, rows, cols, 0.3);
    expect(a).toEqual(b);
    const gain = normal(cols, random, 1);
    const strided = normal(rows * (cols + 2), random, 1);
    for (const accumulate of [false, true]) {
      const options = { epsilon: 1e-6, xStride: cols + 2, dxStride: cols + 2, accumulate };
      const [dx, dxExpected] = copies(normal(rows * (cols + 2), random, 1));
      const [dgain, dgainExpected] = copies(normal(cols, random, 1));
      kernels.rmsNormBackward(strided, gain, y, dx, dgain, rows, cols, options);
      reference.rmsNormBackward(strided, gain, y, dxExpected, dgainExpected, rows, cols, options);
      expect(dx).toEqual(dxExpected);
      expect(dgain).toEqual(dgainExpected);
    }
  });

  it('follow the reference where exponentials enter', () => {
    const [gate, gateExpected] = copies(x.map((v) => 4 * v));
    const [up, upExpected] = copies(y);
    const gradient = normal(size, random, 1);
    kernels.siluMulBackward(gate, up, gradient, size);
    reference.siluMulBackward(gateExpected, upExpected, gradient, size);
    expect(distance(gate, gateExpected)).toBeLessThan(2e-6);
    expect(distance(up, upExpected)).toBeLessThan(2e-6);
    const targets = Int32Array.from({ length: rows }, (_, r) => (r * 7) % cols);
    const [logits, expected] = copies(x.map((v) => 9 * v));
    const loss = kernels.crossEntropy(logits, targets, rows, cols, 0.25);
    const lossExpected = reference.crossEntropy(expected, targets, rows, cols, 0.25);
    expect(Math.abs(loss - lossExpected)).toBeLessThan(1e-6 * (1 + lossExpected) * rows);
    expect(distance(logits, expected)).toBeLessThan(1e-6);
  });
});

describe('adamW', () => {
  it('equals the reference over several steps', () => {
    const n = 64;
    const [w, expected] = copies(normal(n, random, 1));
    const moments = Array.from({ length: 4 }, () => new Uint16Array(n)) as [
      Uint16Array,
      Uint16Array,
      Uint16Array,
      Uint16Array,
    ];
    for (let t = 1; t <= 5; t++) {
      const g = normal(n, random, 10 ** (t - 3));
      const step = {
        scale: 0.7,
        beta1: 0.9,
        beta2: 0.95,
        correction1: 1 / (1 - 0.9 ** t),
        correction2: 1 / (1 - 0.95 ** t),
        epsilon: 1e-8,
        learningRate: 1e-2,
        keep: 0.999,
      };
      kernels.adamW(w, g, moments[0], moments[1], n, step);
      reference.adamW(expected, g, moments[2], moments[3], n, step);
      expect(w).toEqual(expected);
      expect(moments[0]).toEqual(moments[2]);
      expect(moments[1]).toEqual(moments[3]);
    }
  });
});

describe('checks', () => {
  it('refuse short arrays, ragged counts and targets outside the vocabulary', () => {
    const x = new Float32Array(6);
    expect(() => kernels.crossEntropy(x, Int32Array.of(0, 3), 2, 3, 1)).toThrow(/targets from 0 to 2, got 3/);
    expect(() => kernels.transpose(x, new Float32Array(5), 2, 3)).toThrow(/at least 6 elements in out/);
    expect(() => kernels.softmaxBackward(x, x, 3, 3, 1)).toThrow(/at least 9 elements in p/);
    const codes = new Uint16Array(6);
    const step = {
      scale: 1,
      beta1: 0,
      beta2: 0,
      correction1: 1,
      correction2: 1,
      epsilon: 1,
      learningRate: 1,
      keep: 1,
    };
    expect(() => kernels.adamW(x, x, codes, codes, 6, step)).toThrow(/n \/ 4/);
  });
});
