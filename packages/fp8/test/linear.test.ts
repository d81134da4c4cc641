import { readFileSync } from 'node:fs';
import { generator, normal } from '@moestack/fixtures';
import {
  dequantize,
  Fp8Error,
  Fp8Linear,
  KeptInput,
  type LinearMatrix,
  linearDgrad,
  linearForward,
  linearScaling,
  linearWgrad,
  matmul,
  matrixValues,
  prepareGradient,
  prepareInput,
  prepareWeight,
  quantize,
  type Recipe,
  type RecipeName,
  type RecipeOverrides,
  recipe,
  requantize,
  type Scheme,
  transposeQuantized,
  wgradInput,
} from '@moestack/fp8';
import { describe, expect, test } from 'vitest';
import { matrixFactor } from '../src/linear-matrix.js';
import { scalarProduct } from '../src/matmul-scalar.js';
import { accumulationOf } from '../src/product.js';
import { bits } from './golden-arrays.js';
import { doubleGemm, exactProducts, layerData, recipeErrors } from './recipe-errors.js';

const cases: [string, RecipeName, RecipeOverrides][] = [
  ['deepseek-v3', 'deepseek-v3', {}],
  ['deepseek-v3 after attention', 'deepseek-v3', { role: 'afterAttention' }],
  ['deepseek-v3 MoE up', 'deepseek-v3', { role: 'moeUp' }],
  ['deepseek-v3 MoE down', 'deepseek-v3', { role: 'moeDown' }],
  ['deepseek-v3 with E8M0 scales', 'deepseek-v3', { scale: 'e8m0fnu' }],
  ['hybrid', 'hybrid', {}],
  ['delayed', 'delayed', { scaling: { historyLength: 4 } }],
  ['current', 'current', {}],
  ['current with powers of two', 'current', { powerOfTwo: true, gradientFormat: 'e4m3fn' }],
  ['mxfp8', 'mxfp8', {}],
  ['bf16', 'bf16', {}],
  ['f32', 'f32', {}],
];

/** Everything the three products need, from random data. */
function prepared(used: Recipe, [m, n, k]: readonly [number, number, number], seed: number) {
  const random = generator(seed);
  const [x, w, dy] = [normal(m * k, random), normal(n * k, random, 0.05), normal(m * n, random, 1e-6)];
  const options = { recipe: used, scaling: linearScaling(used) };
  const input = prepareInput(x, [m, k], options);
  const weight = prepareWeight(w, [n, k], options);
  const gradient = prepareGradient(dy, [m, n], options);
  return { x, w, dy, options, input, weight, gradient };
}

/** The operands of Fprop, Dgrad and Wgrad as [left, transposed], [right, transposed]. */
function operandsOf(used: Recipe, { input, weight, gradient }: ReturnType<typeof prepared>) {
  const wgrad = wgradInput(input.kept, used);
  return [
    [input.forward, false, weight.forward, false],
    [gradient.dgrad, false, weight.dgrad, true],
    [gradient.wgrad, true, wgrad, true],
  ] as const;
}

function products(p: ReturnType<typeof prepared>): [Float32Array, Float32Array, Float32Array] {
  return [
    linearForward(p.input, p.weight, p.options),
    linearDgrad(p.gradient, p.weight, p.options),
    linearWgrad(p.gradient, p.input.kept, p.options),
  ];
}

describe.each(cases)('%s', (_, name, overrides) => {
  const used = recipe(name, overrides);

  test.each([
    [130, 24, 140],
    [3, 5, 7],
    [33, 40, 128],
  ] as const)('each product is that of its operands at %i x %i x %i', (m, n, k) => {
    const p = prepared(used, [m, n, k], 7);
    const results = products(p);
    operandsOf(used, p).forEach(([left, leftTurned, right, rightTurned], which) => {
      const [a, b] = [matrixFactor(left, leftTurned), matrixFactor(right, rightTurned)];
      const result = results[which]!;
      const scalar = new Float32Array(result.length);
      scalarProduct(a, b, accumulationOf(a, b, used), scalar);
      expect(bits(result)).toEqual(bits(scalar));

      const [av, bv] = [matrixValues(left), matrixValues(right)];
      const at = (values: Float32Array, matrix: LinearMatrix, turned: boolean) => (i: number, q: number) =>
        values[turned ? q * matrix.shape[1] + i : i * matrix.shape[1] + q]!;
      const [readA, readB] = [at(av, left, leftTurned), at(bv, right, rightTurned)];
      const exact = doubleGemm(a.rows, b.rows, a.k, readA, readB);
      const magnitudes = doubleGemm(
        a.rows,
        b.rows,
        a.k,
        (i, q) => Math.abs(readA(i, q)),
        (j, q) => Math.abs(readB(j, q)),
      );
      // In units of 2^-24 of the sum of magnitudes: at most 128 additions in a partial sum and as many products where
      // they round, one fused multiply-add a partial sum, the rounded product of scales and the two rounded dequantised
      // elements that the reference starts from.
      const segments = accumulationOf(a, b, used).starts.length;
      const units = (a.spec === undefined ? 2 : 1) * Math.min(a.k, 128) + segments + 4;
      const isWithin = exact.map(
        (value, i) => +(Math.abs(result[i]! - value) <= units * 2 ** -24 * magnitudes[i]!),
      );
      expect(isWithin.indexOf(0)).toBe(-1);
    });
  });

  test('zero tokens', () => {
    const [y, dx, dw] = products(prepared(used, [0, 5, 130], 1));
    expect([y.length, dx.length, dw.length]).toEqual([0, 0, 650]);
    expect(dw.every((value) => value === 0)).toBe(true);
  });

  test('NaN and infinity reach what depends on them, and nothing else', () => {
    const [m, n, k] = [40, 33, 150];
    const p = prepared(used, [m, n, k], 3);
    const dirty = p.x.slice();
    dirty[5 * k + 3] = Number.NaN;
    const input = prepareInput(dirty, [m, k], p.options);
    const y = linearForward(input, p.weight, p.options);
    const dw = linearWgrad(p.gradient, input.kept, p.options);
    expect(y.findIndex((value, i) => Number.isNaN(value) !== (Math.floor(i / n) === 5))).toBe(-1);
    expect(dw.findIndex((value, i) => Number.isNaN(value) !== (i % k === 3))).toBe(-1);
  });
});

test('wide layers keep their bits where work is cut into chunks', () => {
  const used = recipe('deepseek-v3');
  const p = prepared(used, [20, 530, 2300], 5);
  const [y, dx] = products(p);
  const [x, w] = [p.input.forward.quantized!, p.weight.forward.quantized!];
  expect(bits(matmul(x, w, { promoteEvery: 128 }))).toEqual(bits(y));
  expect(bits(matmul(p.gradient.dgrad.quantized!, transposeQuantized(w), { promoteEvery: 128 }))).toEqual(
    bits(dx),
  );
});

test.each(['hopper', 'ada', 'blackwell', 'f64'] as const)(
  'every product can accumulate as %s',
  (accumulate) => {
    for (const name of ['deepseek-v3', 'hybrid', 'current'] as const) {
      const used = recipe(name, { accumulate });
      const p = prepared(used, [34, 40, 96], 9);
      operandsOf(used, p).forEach(([left, leftTurned, right, rightTurned], which) => {
        const [a, b] = [matrixFactor(left, leftTurned), matrixFactor(right, rightTurned)];
        const scalar = new Float32Array(a.rows * b.rows);
        scalarProduct(a, b, accumulationOf(a, b, used), scalar);
        expect(bits(products(p)[which]!)).toEqual(bits(scalar));
      });
    }
    const mx = prepared(recipe('mxfp8', { accumulate }), [34, 40, 96], 9);
    const reference = prepared(recipe('mxfp8', { accumulate: 'f64' }), [34, 40, 96], 9);
    products(mx).forEach((result, which) => {
      const exact = products(reference)[which]!;
      const norm = Math.hypot(...exact);
      expect(Math.hypot(...result.map((value, i) => value - exact[i]!))).toBeLessThan(norm * 2 ** -9);
    });
  },
);

describe.each(['bf16', 'f32'] as const)('%s gradients', (name) => {
  test('agree with central differences through a float64 layer', () => {
    const [m, n, k] = [5, 6, 9];
    const random = generator(21);
    // Values that bfloat16 holds, so that rounding the operands changes nothing and only sums round.
    const grid = (length: number): Float32Array =>
      Float32Array.from({ length }, () => Math.round((random() * 2 - 1) * 128) / 64);
    const [x, w, dy] = [grid(m * k), grid(n * k), grid(m * n)];
    const loss = (xs: Float64Array, ws: Float64Array): number =>
      doubleGemm(
        m,
        n,
        k,
        (i, p) => xs[i * k + p]!,
        (j, p) => ws[j * k + p]!,
      ).reduce((sum, y, i) => sum + y * dy[i]!, 0);
    const layer = new Fp8Linear({ inFeatures: k, outFeatures: n, recipe: recipe(name) });
    layer.forward(x, w);
    const { inputGradient, weightGradient } = layer.backward(dy);
    const [xs, ws] = [Float64Array.from(x), Float64Array.from(w)];
    const step = 2 ** -10;
    for (const [values, gradient] of [
      [xs, inputGradient],
      [ws, weightGradient],
    ] as const) {
      for (let i = 0; i < values.length; i++) {
        const value = values[i]!;
        values[i] = value + step;
        const high = loss(xs, ws);
        values[i] = value - step;
        const low = loss(xs, ws);
        values[i] = value;
        // The loss is bilinear: the difference quotient is exact up to the rounding of doubles, the gradient is a sum
        // of at most 6 products below 4 in float32.
        expect(Math.abs(gradient[i]! - (high - low) / (2 * step))).toBeLessThan(24 * 6 * 2 ** -24);
      }
    }
  });
});

describe('deepseek-v3', () => {
  const [m, n, k] = [140, 40, 200];

  test('Wgrad takes x requantised from 1x128 to 128x1, and dy in 128x1 tiles', () => {
    const used = recipe('deepseek-v3');
    const { x, dy, input, gradient } = prepared(used, [m, n, k], 2);
    const kept = input.kept.matrix().quantized!;
    expect(kept).toEqual(
      quantize(x, [m, k], { kind: 'tile', tile: [1, 128], format: 'e4m3fn', scale: 'f32' }),
    );
    const tiles: Scheme = { kind: 'tile', tile: [128, 1], format: 'e4m3fn', scale: 'f32', amaxFloor: 0 };
    const turned = wgradInput(input.kept, used).quantized!;
    expect({ ...turned, scheme: tiles }).toEqual(requantize(kept, tiles));
    expect(gradient.wgrad.quantized).toEqual(quantize(dy, [m, n], tiles));
  });

  test('after attention x is kept as packed E5M6 with power-of-two scales', () => {
    const used = recipe('deepseek-v3', { role: 'afterAttention' });
    const { x, input } = prepared(used, [m, n, k], 2);
    const scheme: Scheme = { kind: 'tile', tile: [1, 128], format: 'e5m6', scale: 'powerOfTwo' };
    expect(input.kept.matrix().quantized).toEqual(quantize(x, [m, k], scheme));
    expect(input.kept.bytes).toBe(m * k * 1.5 + m * 2 * 4);
    expect(input.kept.bytes / input.kept.bf16Bytes).toBeLessThan(0.78);
    expect(wgradInput(input.kept, used).quantized!.scales.every((s) => Number.isInteger(Math.log2(s)))).toBe(
      true,
    );
  });

  test('before the MoE down-projection, Wgrad sees dy as it was dispatched', () => {
    const used = recipe('deepseek-v3', { role: 'moeDown' });
    const { dy, gradient } = prepared(used, [m, n, k], 2);
    const sent = gradient.dgrad.quantized!;
    expect(sent.scales.every((s) => Number.isInteger(Math.log2(s)))).toBe(true);
    const arrived = prepareGradient(sent, [m, n], { recipe: used });
    expect(arrived).toEqual(gradient);
    expect(dequantize(sent)).not.toEqual(dy);
  });

  test('codes that arrive quantised enter as they are', () => {
    const used = recipe('deepseek-v3', { role: 'moeUp' });
    const { input } = prepared(used, [m, n, k], 2);
    const arrived = prepareInput(input.forward.quantized!, [m, k], { recipe: used });
    expect(arrived.forward).toEqual(input.forward);
    expect(arrived.kept.matrix()).toEqual(input.kept.matrix());
  });

  test('FP8 keeps about half of the bytes of bfloat16', () => {
    const { kept } = prepared(recipe('deepseek-v3'), [m, n, k], 2).input;
    expect(kept.bytes).toBe(m * k + m * 2 * 4);
    expect(kept.bf16Bytes).toBe(m * k * 2);
  });
});

describe('Fp8Linear', () => {
  const used = recipe('current');
  const make = (): Fp8Linear => new Fp8Linear({ inFeatures: 64, outFeatures: 32, recipe: used });
  const x = normal(4 * 64, generator(1));
  const w = normal(32 * 64, generator(2));

  test('quantises a weight once, until told or given another', () => {
    const [layer, mine] = [make(), w.slice()];
    const y = layer.forward(x, mine);
    mine.fill(0);
    expect(layer.forward(x, mine)).toEqual(y);
    layer.invalidate();
    expect(layer.forward(x, mine).every((value) => value === 0)).toBe(true);
    expect(layer.forward(x, w)).toEqual(y);
    layer.step();
    expect(() => layer.backward(y)).toThrow(Fp8Error);
  });

  test('keeps its own copy of float32 inputs', () => {
    const layer = new Fp8Linear({ inFeatures: 64, outFeatures: 32, recipe: recipe('f32') });
    const mine = x.slice();
    const y = layer.forward(mine, w);
    const before = layer.backward(y).weightGradient;
    layer.forward(mine, w);
    mine.fill(0);
    expect(layer.backward(y).weightGradient).toEqual(before);
  });

  test('serves several micro-batches and adds their weight gradients', () => {
    const layer = make();
    const second = normal(4 * 64, generator(3));
    const y = layer.forward(x, w);
    const first = layer.kept!;
    layer.forward(second, w);
    const weightGradient = layer.backward(y, { kept: first }).weightGradient.slice();
    const alone = layer.backward(y).weightGradient;
    const sum = weightGradient.map((value, i) => value + alone[i]!);
    const inputGradient = new Float32Array(4 * 64);
    const result = layer.backward(y, { weightGradient, inputGradient, addWeightGradient: true });
    expect(result.weightGradient).toBe(weightGradient);
    expect(result.inputGradient).toBe(inputGradient);
    expect(weightGradient).toEqual(sum);
  });

  test('delayed scales follow the amax of earlier steps', () => {
    const layer = new Fp8Linear({
      inFeatures: 64,
      outFeatures: 32,
      recipe: recipe('delayed', { scaling: { historyLength: 2 } }),
    });
    const amax = (values: Float32Array): number => values.reduce((top, v) => Math.max(top, Math.abs(v)), 0);
    layer.backward(layer.forward(x, w));
    expect(layer.scaling!.input.scale).toBe(1);
    layer.step();
    expect(layer.scaling!.input.scale).toBe(Math.fround(448 / amax(x)));
    expect(layer.scaling!.weight.scale).toBe(Math.fround(448 / amax(w)));
    expect(layer.scaling!.gradient.format).toBe('e5m2');
    expect(layer.forward(x, w)).toEqual(layer.forward(x, w));
  });

  test.each([
    ['a size of 0', () => new Fp8Linear({ inFeatures: 0, outFeatures: 3, recipe: used })],
    ['part of a row', () => make().forward(x.subarray(1), w)],
    ['a weight of other size', () => make().forward(x, w.subarray(1))],
    ['a quantised input of other width', () => make().forward(quantize(x, [8, 32], { kind: 'row' }), w)],
    ['backward before forward', () => make().backward(x)],
    ['an out of other size', () => make().forward(x, w, { out: new Float32Array(3) })],
    ['an unknown recipe', () => recipe('fp4' as 'f32')],
    ['a change the recipe does not have', () => recipe('mxfp8', { powerOfTwo: true })],
    ['an unknown role', () => recipe('f32', { role: 'moe' as 'moeUp' })],
    ['delayed operands without scales', () => prepareInput(x, [4, 64], { recipe: recipe('delayed') })],
  ])('%s is an error', (_, body) => {
    expect(body).toThrow(Fp8Error);
  });
});

test('the README states the errors of recipes as they are', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const data = layerData(1);
  const exact = exactProducts(data);
  const rows = [
    ['`deepseek-v3`', recipe('deepseek-v3')],
    ['`deepseek-v3`, `afterAttention`', recipe('deepseek-v3', { role: 'afterAttention' })],
    ['`deepseek-v3`, `moeDown`', recipe('deepseek-v3', { role: 'moeDown' })],
    ['`hybrid`', recipe('hybrid')],
    ['`delayed`', recipe('delayed')],
    ['`current`', recipe('current')],
    ['`mxfp8`', recipe('mxfp8')],
    ['`bf16`', recipe('bf16')],
    ['`f32`', recipe('f32')],
  ] as const;
  const percent = (error: number): string => `${(error * 100).toPrecision(3)} %`;
  const table = rows.map(([label, used]) => {
    const { y, dx, dw, keptBytes } = recipeErrors(used, data, exact);
    return `| ${label} | ${percent(y)} | ${percent(dx)} | ${percent(dw)} | ${keptBytes.toFixed(2)} |`;
  });
  expect(table.filter((line) => !readme.includes(line))).toEqual([]);
});

test('KeptInput counts what it holds', () => {
  const values = Float32Array.of(1, 2, 3, 4);
  const matrix = { shape: [2, 2], values, isTransposed: false } as const;
  expect(new KeptInput(matrix, { type: 'f32' }, false).bytes).toBe(16);
  expect(new KeptInput(matrix, { type: 'bf16' }, false).bytes).toBe(8);
  expect(new KeptInput(matrix, { type: 'bf16' }, false).matrix().values).toEqual(values);
});
