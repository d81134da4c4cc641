import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeSidecar, encodeSidecar, type SidecarArray, SidecarError } from './index.js';

const arrays: fc.Arbitrary<SidecarArray> = fc.oneof(
  fc.float32Array({ maxLength: 9 }),
  fc.float64Array({ maxLength: 9 }),
  fc.int32Array({ maxLength: 9 }),
  fc.uint16Array({ maxLength: 9 }),
  fc.uint8Array({ maxLength: 9 }),
);

function file(header: string, data: number = 16): Uint8Array {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length + data);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

describe('sidecar', () => {
  it('gives every array back', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ minLength: 1, maxLength: 9 }), arrays, { maxKeys: 5 }), (all) => {
        const entries = Object.entries(all).filter(([name]) => name !== '__metadata__');
        const tensors = Object.fromEntries(
          entries.map(([name, data]) => [name, { shape: [data.length], data }]),
        );
        const back = decodeSidecar(encodeSidecar(tensors));
        expect(back.size).toBe(entries.length);
        for (const [name, data] of entries) {
          expect(back.get(name)?.shape).toEqual([data.length]);
          expect(back.get(name)?.data).toEqual(data);
        }
      }),
      { seed: 20_250_109, numRuns: 200 },
    );
  });

  it.each([
    ['too few bytes', new Uint8Array(7)],
    ['a header longer than the file', new Uint8Array(8).fill(255)],
    ['no JSON', file('{')],
    ['no object', file('[]')],
    ['an unknown dtype', file('{"a":{"dtype":"C64","shape":[2],"data_offsets":[0,16]}}')],
    ['a prototype name as dtype', file('{"a":{"dtype":"constructor","shape":[2],"data_offsets":[0,16]}}')],
    ['a shape that is not filled', file('{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}}')],
    ['offsets past the end', file('{"a":{"dtype":"F32","shape":[5],"data_offsets":[0,20]}}')],
    ['offsets backwards', file('{"a":{"dtype":"F32","shape":[0],"data_offsets":[4,0]}}')],
    ['half an element', file('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,3]}}')],
    ['an entry that is null', file('{"a":null}')],
    [
      'overlapping tensors',
      file(
        '{"a":{"dtype":"U8","shape":[16],"data_offsets":[0,16]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
      ),
    ],
  ])('refuses %s', (_, bytes) => {
    expect(() => decodeSidecar(bytes)).toThrow(
      expect.objectContaining({ code: 'schemas/bad-sidecar' }) as SidecarError,
    );
  });

  it('refuses to write a shape that is not the data', () => {
    expect(() => encodeSidecar({ a: { shape: [2], data: new Uint8Array(3) } })).toThrow(SidecarError);
  });
});
