import { describe, expect, test } from 'vitest';
import { accumulationError, distributions } from './accumulation-study.js';
import { SeededNumbers } from './seeded-numbers.js';

describe('accumulationError', () => {
  const hopper = { k: 4096, accumulate: 'hopper', size: 16 } as const;

  test('promotion every 128 beats none at least five times on N(0, 1), and more rarely promoted is worse', () => {
    const none = accumulationError(hopper).frobenius;
    const every512 = accumulationError({ ...hopper, promoteEvery: 512 }).frobenius;
    const every128 = accumulationError({ ...hopper, promoteEvery: 128 }).frobenius;
    expect(none / every128).toBeGreaterThan(5);
    expect(none).toBeGreaterThan(every512);
    expect(every512).toBeGreaterThan(every128);
  });

  test('all-positive data lose towards zero what zero-mean data mostly cancel', () => {
    const positive = accumulationError({ ...hopper, distribution: 'uniform' });
    expect(positive.bias).toBeLessThan(-0.05);
    expect(positive.frobenius).toBeGreaterThan(0.05);
    expect(positive.frobenius).toBeLessThan(0.1);
    expect(Math.abs(accumulationError(hopper).bias)).toBeLessThan(0.01);
  });

  test('the error of Hopper grows with k; Blackwell is near float32', () => {
    const at = (k: number) => accumulationError({ ...hopper, k, distribution: 'half-normal' }).median;
    expect(at(512)).toBeLessThan(at(1024));
    expect(at(1024)).toBeLessThan(at(2048));
    const blackwell = accumulationError({ ...hopper, accumulate: 'blackwell' });
    expect(blackwell.frobenius).toBeLessThan(1e-5);
    expect(blackwell.quantization).toBeGreaterThan(0.02);
  });

  test('a seed fixes the result, and the figures are in order', () => {
    for (const distribution of distributions) {
      const options = { ...hopper, k: 256, size: 8, distribution };
      const error = accumulationError(options);
      expect(accumulationError(options)).toEqual(error);
      expect(error.median).toBeLessThanOrEqual(error.p99);
      expect(error.p99).toBeLessThanOrEqual(error.maximum);
      expect(accumulationError({ ...options, seed: 1 })).not.toEqual(error);
    }
  });

  test('refuses sizes and distributions that do not fit', () => {
    for (const sizes of [{ k: 0 }, { k: 1.5 }, { k: 2 ** 33 }, { k: 1, size: 0 }, { k: 1, size: 2 ** 17 }]) {
      expect(() => accumulationError({ ...hopper, ...sizes })).toThrow(/whole numbers/);
    }
    const bad = { ...hopper, distribution: 'cauchy' } as unknown as Parameters<typeof accumulationError>[0];
    expect(() => accumulationError(bad)).toThrow(/half-normal/);
  });
});

test('SeededNumbers are uniform and normal, within four standard errors', () => {
  const numbers = new SeededNumbers(42);
  const count = 100_000;
  const moments = (draw: () => number): [mean: number, square: number] => {
    let [sum, squares] = [0, 0];
    for (let i = 0; i < count; i++) {
      const value = draw();
      sum += value;
      squares += value * value;
    }
    return [sum / count, squares / count];
  };
  const [mean, square] = moments(() => numbers.uniform());
  expect(Math.abs(mean - 1 / 2)).toBeLessThan(4 * Math.sqrt(1 / 12 / count));
  expect(Math.abs(square - 1 / 3)).toBeLessThan(4 * Math.sqrt(4 / 45 / count));
  const [normalMean, normalSquare] = moments(() => numbers.normal());
  expect(Math.abs(normalMean)).toBeLessThan(4 / Math.sqrt(count));
  expect(Math.abs(normalSquare - 1)).toBeLessThan(4 * Math.sqrt(2 / count));
});
