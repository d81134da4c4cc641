import { fixturePath } from '@moestack/fixtures';
import {
  type Checkpoint,
  decode,
  encode,
  inspectCheckpoint,
  memorySource,
  openCheckpoint,
  quantize,
  type SafetensorsDtype,
  serializeSafetensors,
} from '@moestack/fp8';
import { inspectCheckpoint as inspectDirectory } from '@moestack/fp8/node';
import { CheckpointInspection, type TensorInspection } from '@moestack/schemas';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

type Tensor = [name: string, dtype: SafetensorsDtype, shape: number[], data: ArrayBufferView];

async function checkpointOf(tensors: readonly Tensor[], config?: object): Promise<Checkpoint> {
  const list = tensors.map(([name, dtype, shape, data]) => ({ name, dtype, shape, data }));
  const json = new TextEncoder().encode(JSON.stringify(config ?? {}));
  return await openCheckpoint({
    'model.safetensors': memorySource(serializeSafetensors(list)),
    'config.json': memorySource(json),
  });
}

async function inspectOne(...tensors: Tensor[]): Promise<TensorInspection> {
  const report = await inspectCheckpoint(await checkpointOf(tensors));
  expect(CheckpointInspection.parse(report)).toEqual(report);
  return report.tensors[0]!;
}

const noise = (length: number, seed = 12.9898): Float32Array =>
  Float32Array.from({ length }, (_, i) => Math.sin((i + 1) * seed) * 2 ** ((i % 13) - 6));

function sumOfUniforms(index: number): number {
  let sum = -6;
  for (let k = 0; k < 12; k++) {
    const hash = Math.imul((index * 12 + k) ^ 0x9e3779b9, 0x85ebca6b);
    sum += ((Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) ^ (hash >>> 16)) >>> 0) / 2 ** 32;
  }
  return sum;
}

describe('values', () => {
  test('counts zeros, specials and binades of float32, subnormals included', async () => {
    const values = Float32Array.of(
      0,
      -0,
      1,
      -1.5,
      2,
      2 ** -149,
      2 ** -127,
      Number.NaN,
      -1 / 0,
      1 / 0,
      3.4028234663852886e38,
    );
    const { values: statistics } = await inspectOne(['x', 'F32', [values.length], values]);
    expect(statistics).toMatchObject({
      zeros: 2,
      subnormals: 2,
      atMaximum: 1,
      nans: 1,
      infinities: 2,
      largest: 3.4028234663852886e38,
      smallest: 2 ** -149,
      binades: { first: -149 },
    });
    const { counts } = statistics!.binades;
    expect([counts[0], counts[22], counts[149], counts[150], counts[276]]).toEqual([1, 1, 2, 1, 1]);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(6);
  });

  test('counts what is subnormal or largest in the stored type, not in float32', async () => {
    const f16 = encode('f16', Float32Array.of(2 ** -15, -(2 ** -24), 2 ** -14, 65504, -65504, 1));
    const half = await inspectOne(['x', 'F16', [6], f16]);
    expect(half.values).toMatchObject({ subnormals: 2, atMaximum: 2, zeros: 0 });
    const e5m2 = encode('e5m2', Float32Array.of(2 ** -16, 3 * 2 ** -16, 2 ** -14, 57344, -1, 0));
    const codes = await inspectOne(['x', 'F8_E5M2', [6], e5m2]);
    expect(codes.values).toMatchObject({ subnormals: 2, atMaximum: 1, zeros: 1 });
    expect(codes.codes?.counts[0x7b]).toBe(1);
  });

  test('mean, root mean square and range equal those of a plain loop', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.float32Array({ minLength: 1, maxLength: 300, noNaN: true, max: 1e9, min: -1e9 }),
        async (values) => {
          const { values: seen } = await inspectOne(['x', 'F32', [values.length], values]);
          const plain = Array.from(values);
          const sum = plain.reduce((total, value) => total + value, 0);
          const squares = plain.reduce((total, value) => total + value * value, 0);
          const magnitudes = plain.map(Math.abs).filter((value) => value > 0);
          expect(seen!.mean).toBe(sum / plain.length);
          expect(seen!.rootMeanSquare).toBe(Math.sqrt(squares / plain.length));
          expect(seen!.largest).toBe(Math.max(0, ...magnitudes));
          expect(seen!.smallest).toBe(magnitudes.length === 0 ? null : Math.min(...magnitudes));
        },
      ),
      { seed: 5, numRuns: 50 },
    );
  });
});

describe('codes and scales', () => {
  test('a block-scaled weight: codes, entropy, scales, and the error to expect', async () => {
    // Twelve uniforms: smooth within every rounding interval, as the model of the expected error has it.
    const values = Float32Array.from({ length: 130 * 140 }, (_, i) => sumOfUniforms(i));
    const q = quantize(values, [130, 140], { kind: 'tile', tile: [128, 128], scale: 'powerOfTwo' });
    const tensor = await inspectOne(
      ['a.weight', 'F8_E4M3', [130, 140], q.codes],
      ['a.weight_scale_inv', 'F32', [2, 2], q.scales],
    );
    expect(tensor.scales).toMatchObject({ name: 'a.weight_scale_inv', count: 4, powersOfTwo: 4, invalid: 0 });
    expect(tensor.codes!.counts.reduce((sum, count) => sum + count, 0)).toBe(130 * 140);
    expect(tensor.codes!.entropyBits).toBeGreaterThan(5);
    expect(tensor.codes!.entropyBits).toBeLessThan(8);
    const decoded = decode('e4m3fn', q.codes);
    let [error, signal] = [0, 0];
    values.forEach((value, i) => {
      const scale = q.scales[Math.floor(i / 140 / 128) * 2 + Math.floor((i % 140) / 128)]!;
      error += (decoded[i]! * scale - value) ** 2;
      signal += value * value;
    });
    // The measured error is one draw of what the uniform model expects.
    expect(tensor.expectedError!.relativeError / Math.sqrt(error / signal)).toBeGreaterThan(0.97);
    expect(tensor.expectedError!.relativeError / Math.sqrt(error / signal)).toBeLessThan(1.03);
  });

  test('scales that are zero, negative or not finite are counted', async () => {
    const codes = new Uint8Array(256 * 256).fill(0x38);
    const scales = Float32Array.of(1, 0, -1, Number.NaN);
    const tensor = await inspectOne(
      ['a.weight', 'F8_E4M3', [256, 256], codes],
      ['a.weight_scale_inv', 'F32', [2, 2], scales],
    );
    expect(tensor.scales).toMatchObject({ count: 4, invalid: 3, smallest: 1, largest: 1 });
    expect(tensor.values).toMatchObject({ zeros: 128 * 128, nans: 128 * 128 });
  });

  test.each([
    ['missing', []],
    ['of the wrong shape', [['a.weight_scale_inv', 'F32', [3, 3], new Float32Array(9)]]],
    ['of the wrong type', [['a.weight_scale_inv', 'I32', [1, 1], new Int32Array(1)]]],
  ] as [string, Tensor[]][])('scales %s are a note, the codes are still inspected', async (_, scales) => {
    const weight: Tensor = ['a.weight', 'F8_E4M3', [2, 2], Uint8Array.of(0x38, 0xb8, 0, 1)];
    const checkpoint = await checkpointOf([weight, ...scales], {
      quantization_config: { quant_method: 'fp8' },
    });
    const { tensors } = await inspectCheckpoint(checkpoint);
    expect(tensors).toHaveLength(1);
    expect(tensors[0]!.note).toMatch(/scales not applied/);
    expect(tensors[0]!.values).toMatchObject({ largest: 1, zeros: 1 });
    expect(tensors[0]!.scales).toBeUndefined();
  });

  test('4-bit codes are unpacked, low nibble first', async () => {
    const tensor = await inspectOne(['x', 'F4', [4], Uint8Array.of(0x21, 0xf7)]);
    expect(tensor.codes).toMatchObject({ format: 'e2m1fn' });
    expect(tensor.codes!.counts).toEqual([0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    expect(tensor.values).toMatchObject({ largest: 6, atMaximum: 2, subnormals: 1 });
  });

  test('integers, packed 6-bit types, complex numbers and empty tensors have a note', async () => {
    const checkpoint = await checkpointOf([
      ['i', 'I64', [2], new BigInt64Array(2)],
      ['c', 'C64', [1], new Float32Array(2)],
      ['s', 'F6_E3M2', [4], new Uint8Array(3)],
      ['e', 'BF16', [0, 5], new Uint16Array(0)],
    ]);
    const { tensors, totals } = await inspectCheckpoint(checkpoint);
    expect(tensors.every(({ note, values }) => note !== undefined && values === undefined)).toBe(true);
    expect(totals).toMatchObject({
      tensors: 4,
      elements: 7,
      bytesByDtype: { I64: 16, C64: 8, F6_E3M2: 3, BF16: 0 },
    });
  });
});

describe('what quantising would do', () => {
  test('small values under a large one underflow, and are counted as lost', async () => {
    const values = new Float32Array(128 * 128).fill(2 ** -20);
    values[0] = 448;
    const { quantized } = await inspectOne(['x', 'F32', [128, 128], values]);
    expect(quantized).toMatchObject({
      underflows: 128 * 128 - 1,
      atMaximum: 1,
      saturations: 0,
      subnormals: 0,
    });
    expect(quantized!.scales).toMatchObject({ count: 1, largest: 1 });
  });

  test('nothing but exact values loses nothing', async () => {
    const values = decode(
      'e4m3fn',
      Uint8Array.from({ length: 127 }, (_, code) => code),
    );
    const { quantized } = await inspectOne(['x', 'F32', [1, 127], values]);
    expect(quantized).toMatchObject({ relativeError: 0, signalToNoiseDb: null, underflows: 0 });
  });

  test('infinities are skipped, not an infinite error', async () => {
    const { quantized } = await inspectOne(['x', 'F32', [1, 3], Float32Array.of(1, 1 / 0, Number.NaN)]);
    expect(quantized).toMatchObject({ skipped: 2, relativeError: 0 });
  });

  test.each([
    [[3, 200, 130], [128, 128], 3 * 2 * 2],
    [[2, 256, 130], [128, 128], 4 * 2],
    [[8, 4, 3, 3], [1, 32], 8 * 2],
    [[5, 300], [1, 128], 15],
  ] as [number[], [number, number], number][])('%j in %j tiles has %d scales', async (shape, tile, count) => {
    const data = noise(shape.reduce((product, size) => product * size, 1));
    const checkpoint = await checkpointOf([['x', 'F32', shape, data]]);
    const { tensors } = await inspectCheckpoint(checkpoint, { tile });
    expect(tensors[0]!.quantized!.scales.count).toBe(count);
    expect(tensors[0]!.values!.zeros).toBe(0);
  });

  test('a matrix wider than the memory is quantised in panels with the same result', async () => {
    const cols = 2 ** 20 + 300;
    const values = noise(2 * cols);
    const { quantized } = await inspectOne(['x', 'F32', [2, cols], values]);
    const q = quantize(values, [2, cols], { kind: 'tile', tile: [128, 128] });
    expect(quantized!.scales.count).toBe(q.scales.length);
    expect(quantized!.scales.largest).toBe(Math.max(...q.scales));
    expect(quantized!.atMaximum).toBe(
      Array.from(q.codes).reduce((sum, code) => sum + Number((code & 127) === 126), 0),
    );
  });

  test('a scheme that cannot be is refused before anything is read', async () => {
    const checkpoint = await checkpointOf([['x', 'F32', [1], noise(1)]]);
    for (const tile of [[0, 1], [1.5, 2], [2 ** 20, 2], 'x'] as unknown as [number, number][]) {
      await expect(inspectCheckpoint(checkpoint, { tile })).rejects.toMatchObject({ code: 'fp8/bad-scheme' });
    }
    await expect(inspectCheckpoint(checkpoint, { format: 'e8m0fnu' })).rejects.toMatchObject({
      code: 'fp8/bad-scheme',
    });
  });
});

describe('against an original', () => {
  test('the error of a converted checkpoint is what inspecting the original foretells', async () => {
    const converted = fixturePath('routing-model/tiny-v3/fp8');
    const source = fixturePath('routing-model/tiny-v3/model.safetensors');
    const foretold = await inspectDirectory(source);
    const measured = await inspectDirectory(converted, { original: source });
    let compared = 0;
    for (const tensor of measured.tensors) {
      if (tensor.dtype !== 'F8_E4M3') continue;
      const { quantized } = foretold.tensors.find(({ name }) => name === tensor.name)!;
      const { subnormals: _, atMaximum: __, scales: ___, ...error } = quantized!;
      expect(tensor.against, tensor.name).toEqual(error);
      compared++;
    }
    expect(compared).toBeGreaterThan(10);
    expect(measured.original).toBe(source);
  });

  test('sees saturation and underflow that a cast without scales causes', async () => {
    const values = Float32Array.of(1000, 448, 460, 2 ** -12, -1000, 0, 1);
    const original = await checkpointOf([['x', 'F32', [7], values]]);
    const converted = await checkpointOf([['x', 'F8_E4M3', [7], encode('e4m3fn', values)]]);
    const { tensors } = await inspectCheckpoint(converted, { original });
    // 460 rounds to 448 by itself: half a unit above is 464.
    expect(tensors[0]!.against).toMatchObject({ saturations: 2, underflows: 1, largestError: 552 });
  });

  test('tensors that differ in shape, are absent or no numbers are noted', async () => {
    const original = await checkpointOf([
      ['a', 'F32', [2], noise(2)],
      ['c', 'I32', [3], new Int32Array(3)],
    ]);
    const converted = await checkpointOf([
      ['a', 'F32', [3], noise(3)],
      ['b', 'F32', [3], noise(3)],
      ['c', 'F32', [3], noise(3)],
    ]);
    const { tensors } = await inspectCheckpoint(converted, { original });
    expect(tensors.map(({ note }) => note)).toEqual([
      'the original has shape [2]',
      'the original has no such tensor',
      'the original is I32',
    ]);
    expect(tensors.every(({ against }) => against === undefined)).toBe(true);
  });
});

describe('progress', () => {
  test('reaches the end once, and an abort stops between two pieces', async () => {
    const checkpoint = await checkpointOf([
      ['a', 'F32', [2 ** 20, 3], new Float32Array(3 * 2 ** 20).fill(1)],
      ['b', 'F32', [10], noise(10)],
    ]);
    const seen: number[] = [];
    const names: string[] = [];
    await inspectCheckpoint(checkpoint, {
      onProgress: ({ doneBytes, totalBytes }) => seen.push(doneBytes / totalBytes),
      onTensor: ({ name }) => names.push(name),
    });
    expect(seen).toEqual([...seen].sort((a, b) => a - b));
    expect(seen.length).toBeGreaterThan(4);
    expect(seen.filter((share) => share === 1)).toHaveLength(1);
    expect(names).toEqual(['a', 'b']);
    const controller = new AbortController();
    const aborted = inspectCheckpoint(checkpoint, {
      signal: controller.signal,
      onProgress: ({ doneBytes }) => {
        if (doneBytes > 0) controller.abort();
      },
      onTensor: () => expect.fail('a tensor was finished'),
    });
    await expect(aborted).rejects.toMatchObject({ code: 'aborted' });
  });

  test('include limits what is read', async () => {
    const checkpoint = await checkpointOf([
      ['a', 'F32', [2], noise(2)],
      ['b', 'F32', [2], noise(2)],
    ]);
    const report = await inspectCheckpoint(checkpoint, { include: (name) => name === 'b', source: 'model' });
    expect(report).toMatchObject({ source: 'model', totals: { tensors: 1, bytes: 8 } });
  });
});
