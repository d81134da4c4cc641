import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Checkpoint,
  memorySource,
  openCheckpoint,
  type SafetensorsDtype,
  serializeSafetensors,
} from '@moestack/fp8';
import { convertCheckpoint, openCheckpoint as openDirectory } from '@moestack/fp8/node';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { dtypeBits } from '../src/safetensors-dtype.js';

const dtypes = Object.keys(dtypeBits) as SafetensorsDtype[];
let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'fp8-dtypes-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

interface Tensor {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: number[];
  readonly data: Uint8Array;
}

/** Shapes whose elements fill whole bytes, those without elements and without dimensions included. */
function shapeOf(dtype: SafetensorsDtype): fc.Arbitrary<number[]> {
  const whole = dtypeBits[dtype] % 8 === 0;
  const size = fc.integer({ min: 0, max: 6 });
  const last = whole ? size : size.map((value) => value * 4);
  const shape = fc.tuple(fc.array(size, { maxLength: 3 }), last).map(([leading, end]) => [...leading, end]);
  return whole ? fc.oneof(fc.constant<number[]>([]), shape) : shape;
}

const tensor = (name: string): fc.Arbitrary<Tensor> =>
  fc.constantFrom(...dtypes).chain((dtype) =>
    shapeOf(dtype).chain((shape) => {
      const bytes = (shape.reduce((product, size) => product * size, 1) * dtypeBits[dtype]) / 8;
      const data = fc.uint8Array({ minLength: bytes, maxLength: bytes });
      return data.map((values) => ({ name, dtype, shape, data: values }));
    }),
  );

async function tensorsOf(checkpoint: Checkpoint): Promise<Tensor[]> {
  const names = checkpoint.names().sort();
  return await Promise.all(
    names.map(async (name) => {
      const { dtype, shape } = checkpoint.info(name);
      return { name, dtype, shape, data: new Uint8Array(await checkpoint.read(name)) };
    }),
  );
}

describe('every dtype of the format', () => {
  test('is written and read back as it was, and written again to the same bytes', async () => {
    const list = fc
      .array(fc.constant(0), { minLength: 1, maxLength: 12 })
      .chain((slots) => fc.tuple(...slots.map((_, i) => tensor(`t${String(i).padStart(2, '0')}`))));
    await fc.assert(
      fc.asyncProperty(list, async (tensors) => {
        const bytes = serializeSafetensors(tensors);
        const checkpoint = await openCheckpoint({ 'model.safetensors': memorySource(bytes) });
        const seen = await tensorsOf(checkpoint);
        expect(seen).toEqual(tensors);
        expect(serializeSafetensors(seen)).toEqual(bytes);
        for (const { name, dtype, data } of tensors) {
          const isRawOnly = data.length > 0 && ['C64', 'F6_E2M3', 'F6_E3M2'].includes(dtype);
          if (isRawOnly)
            await expect(checkpoint.readFloat32(name)).rejects.toMatchObject({ code: 'fp8/no-float32-form' });
          else expect((await checkpoint.readFloat32(name)).length).toBe((data.length * 8) / dtypeBits[dtype]);
        }
      }),
      { seed: 17, numRuns: 150 },
    );
  });

  test.each(['bf16', 'fp8-block'] as const)(
    'passes a conversion to %s unless it is a float',
    async (target) => {
      const from = join(root, 'from');
      await mkdir(from);
      const tensors = dtypes.map((dtype): Tensor => {
        const bytes = dtypeBits[dtype] * 2;
        return {
          name: dtype,
          dtype,
          shape: [2, 8],
          data: Uint8Array.from({ length: bytes }, (_, i) => i * 37),
        };
      });
      await writeFile(join(from, 'model.safetensors'), serializeSafetensors(tensors));
      await convertCheckpoint({ from, to: join(root, 'to'), target });
      const result = await openDirectory(join(root, 'to'));
      const seen = new Map((await tensorsOf(result)).map((entry) => [entry.name, entry]));
      await result.close();
      for (const entry of tensors) {
        const isFp8 = entry.dtype.startsWith('F8_') && entry.dtype !== 'F8_E8M0';
        const isFloat = ['F64', 'F32', 'F16', 'BF16'].includes(entry.dtype);
        const becomes = isFp8 || (isFloat && target === 'bf16') ? 'BF16' : entry.dtype;
        expect(seen.get(entry.name)?.dtype, entry.dtype).toBe(becomes);
        if (becomes === entry.dtype) expect(seen.get(entry.name)).toEqual(entry);
      }
    },
  );
});
