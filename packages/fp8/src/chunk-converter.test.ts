import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ScaleLayout } from './checkpoint-scales.js';
import { chunkConverter } from './chunk-converter.js';
import { encode } from './encode.js';
import { dtypeBits, type SafetensorsDtype } from './safetensors-dtype.js';
import { storedToFloat32 } from './stored-values.js';

const sources = ['F8_E4M3', 'F8_E5M2', 'F8_E4M3FNUZ', 'F8_E5M2FNUZ', 'BF16', 'F16', 'F32', 'F64'] as const;
const targets = ['BF16', 'F16', 'F32'] as const;

/** Element by element: decode, scale in float32, round. */
function reference(
  source: SafetensorsDtype,
  target: SafetensorsDtype,
  raw: Uint8Array,
  layout: ScaleLayout | undefined,
  scales: Float32Array,
): Uint8Array {
  const elements = (raw.length * 8) / dtypeBits[source];
  if (source === 'F64' && target !== 'F32') {
    const doubles = new Float64Array(raw.buffer, raw.byteOffset, elements);
    return bytesOf(encode(target === 'F16' ? 'f16' : 'bf16', doubles, { overflow: 'nonSaturating' }));
  }
  const values = new Float32Array(elements);
  storedToFloat32(source, raw, values);
  if (layout !== undefined) {
    const { cols, block, blockCols } = layout;
    values.forEach((value, i) => {
      const row = Math.floor(i / cols);
      const tile = Math.floor((i % cols) / block[1]);
      values[i] = value * scales[Math.floor(row / block[0]) * blockCols + tile]!;
    });
  }
  if (target === 'F32') return bytesOf(values);
  return bytesOf(encode(target === 'F16' ? 'f16' : 'bf16', values, { overflow: 'nonSaturating' }));
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** Bits with NaN as one class: decoding goes through tables that need not keep payloads. */
function classes(target: SafetensorsDtype, stored: Uint8Array): number[] {
  if (target === 'F32') {
    return Array.from(new Uint32Array(stored.buffer, stored.byteOffset, stored.length / 4), (word) =>
      (word & 0x7fffffff) > 0x7f800000 ? -1 : word,
    );
  }
  const infinity = target === 'F16' ? 0x7c00 : 0x7f80;
  return Array.from(new Uint16Array(stored.buffer, stored.byteOffset, stored.length / 2), (word) =>
    (word & 0x7fff) > infinity ? -1 : word,
  );
}

function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state;
  };
}

function bytesFrom(random: () => number, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random() >>> 24);
}

describe.each(sources)('%s', (source) => {
  test.each(targets)(
    'to %s has the bits of decoding, scaling and rounding, in chunks of any size',
    (target) => {
      const isNarrow = dtypeBits[source] === 8;
      const shapes = fc.record({
        rows: fc.integer({ min: 1, max: 70 }),
        cols: fc.integer({ min: 1, max: 150 }),
        block: fc.tuple(fc.constantFrom(1, 40, 64, 128), fc.constantFrom(4, 33, 64, 128)),
        scaled: fc.boolean(),
        chunk: fc.integer({ min: 1, max: 3000 }),
        seed: fc.nat(),
      });
      fc.assert(
        fc.property(shapes, ({ rows, cols, block, scaled, chunk, seed }) => {
          const random = generator(seed);
          const elements = rows * cols;
          const elementBytes = dtypeBits[source] / 8;
          const raw = bytesFrom(random, elements * elementBytes);
          const blockRows = Math.ceil(rows / block[0]);
          const blockCols = Math.ceil(cols / block[1]);
          const layout = scaled && isNarrow ? { rows, cols, block, blockRows, blockCols } : undefined;
          const scales = Float32Array.from(
            { length: blockRows * blockCols },
            () => 2 ** ((random() >>> 27) - 16) * 1.3,
          );
          const convert = chunkConverter(source, target, layout, scales);
          const size = dtypeBits[target] / 8;
          const stored = new Uint8Array(elements * size);
          for (let first = 0; first < elements; first += chunk) {
            const count = Math.min(chunk, elements - first);
            // Buffers of their own, as the pipeline has them; longer than the last chunk.
            const piece = new Uint8Array(chunk * elementBytes);
            piece.set(raw.subarray(first * elementBytes, (first + count) * elementBytes));
            const out = new Uint8Array(chunk * size);
            convert(piece, first, count, out);
            stored.set(out.subarray(0, count * size), first * size);
          }
          const wanted = reference(source, target, raw, layout, scales);
          expect(classes(target, stored)).toEqual(classes(target, wanted));
        }),
        { seed: 21, numRuns: 12 },
      );
    },
  );
});
