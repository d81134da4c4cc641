import { describe, expect, test } from 'vitest';
import { CheckpointError } from './errors.js';
import {
  MAX_HEADER_BYTES,
  MAX_TENSOR_DIMENSIONS,
  parseSafetensorsHeader,
  readHeaderLength,
  tensorBytes,
} from './safetensors-header.js';

function parse(json: string, dataBytes: number): ReturnType<typeof parseSafetensorsHeader> {
  const bytes = new TextEncoder().encode(json);
  return parseSafetensorsHeader('f.safetensors', bytes, 8 + bytes.length + dataBytes);
}

function codeOf(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    if (error instanceof CheckpointError) return error.code;
    throw error;
  }
  return 'accepted';
}

const f32 = (begin: number, end: number, shape: string): string =>
  `{"dtype":"F32","shape":${shape},"data_offsets":[${begin},${end}]}`;

describe('valid headers', () => {
  test('gives absolute offsets, shapes, metadata and ignores unknown fields', () => {
    const { tensors, metadata, dataStart } = parse(
      `{"__metadata__":{"format":"pt"}, "b":${f32(4, 12, '[2]')},"a":{"dtype":"F32","extra":{"x":[1,-2.5e3,null]},"shape":[],"data_offsets":[0,4]}}   `,
      12,
    );
    expect(metadata.get('format')).toBe('pt');
    expect(tensors.get('a')).toEqual({ dtype: 'F32', shape: [], offset: dataStart, bytes: 4 });
    expect(tensors.get('b')?.offset).toBe(dataStart + 4);
  });

  test('accepts zero-sized tensors and an empty file', () => {
    expect(parse(`{"a":${f32(0, 0, '[0,9007199254740991]')}}`, 0).tensors.get('a')?.bytes).toBe(0);
    expect(parse('{}', 0).tensors.size).toBe(0);
  });

  test('decodes escapes in names and keeps __proto__ an ordinary name', () => {
    const { tensors } = parse(`{"__proto__":${f32(0, 4, '[1]')},"\\u00e9\\n":${f32(4, 8, '[1]')}}`, 8);
    expect([...tensors.keys()]).toEqual(['__proto__', 'é\n']);
  });

  test.each([
    ['F4', 3],
    ['F6_E2M3', 0],
    ['F8_E8M0', 6],
    ['C64', 48],
    ['U64', 48],
    ['BOOL', 6],
    ['F16', 12],
  ] as const)('%s of 6 elements', (dtype, bytes) => {
    expect(tensorBytes(dtype, [2, 3])).toBe(bytes || undefined);
  });
});

describe('rejected headers', () => {
  test.each([
    ['overlapping tensors', `{"a":${f32(0, 8, '[2]')},"b":${f32(4, 12, '[2]')}}`, 12, 'fp8/bad-offsets'],
    ['a gap', `{"a":${f32(0, 4, '[1]')},"b":${f32(8, 12, '[1]')}}`, 12, 'fp8/bad-offsets'],
    ['a gap at the start', `{"a":${f32(4, 8, '[1]')}}`, 8, 'fp8/bad-offsets'],
    ['bytes after the last tensor', `{"a":${f32(0, 4, '[1]')}}`, 5, 'fp8/bad-offsets'],
    ['tensors beyond the file', `{"a":${f32(0, 4, '[1]')}}`, 3, 'fp8/truncated-file'],
    ['end before begin', `{"a":${f32(4, 0, '[1]')}}`, 4, 'fp8/bad-tensor-size'],
    ['a shape that needs more bytes', `{"a":${f32(0, 4, '[2]')}}`, 4, 'fp8/bad-tensor-size'],
    [
      'a shape whose product overflows',
      `{"a":${f32(0, 4, '[4294967296,4294967296]')}}`,
      4,
      'fp8/bad-tensor-size',
    ],
    [
      'a fraction of a byte',
      '{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}',
      2,
      'fp8/bad-tensor-size',
    ],
    ['an unknown dtype', '{"a":{"dtype":"F9","shape":[],"data_offsets":[0,4]}}', 4, 'fp8/unknown-dtype'],
    [
      'a dtype from the prototype',
      '{"a":{"dtype":"toString","shape":[],"data_offsets":[0,4]}}',
      4,
      'fp8/unknown-dtype',
    ],
    ['a duplicate name', `{"a":${f32(0, 4, '[1]')},"a":${f32(0, 4, '[1]')}}`, 4, 'fp8/bad-json'],
    [
      'a duplicate name by escape',
      `{"a":${f32(0, 4, '[1]')},"\\u0061":${f32(0, 4, '[1]')}}`,
      4,
      'fp8/bad-json',
    ],
    [
      'a duplicate field',
      '{"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}}',
      4,
      'fp8/bad-json',
    ],
    ['a missing field', '{"a":{"dtype":"F32","shape":[]}}', 0, 'fp8/bad-json'],
    ['one offset', '{"a":{"dtype":"F32","shape":[],"data_offsets":[4]}}', 4, 'fp8/bad-json'],
    ['a negative dimension', `{"a":${f32(0, 4, '[-1]')}}`, 4, 'fp8/bad-json'],
    ['a fractional dimension', `{"a":${f32(0, 4, '[1.0]')}}`, 4, 'fp8/bad-json'],
    ['an integer beyond 2^53', `{"a":${f32(0, 4, '[9007199254740993]')}}`, 4, 'fp8/bad-json'],
    ['a leading zero', `{"a":${f32(0, 4, '[01]')}}`, 4, 'fp8/bad-json'],
    [
      'too many dimensions',
      `{"a":${f32(0, 4, `[${'1,'.repeat(MAX_TENSOR_DIMENSIONS)}1]`)}}`,
      4,
      'fp8/bad-json',
    ],
    ['deep nesting', `{"a":{"x":${'['.repeat(100_000)}`, 0, 'fp8/bad-json'],
    ['metadata that is no string', '{"__metadata__":{"a":1}}', 0, 'fp8/bad-json'],
    ['an endless string', `{"${'a'.repeat(70_000)}`, 0, 'fp8/bad-json'],
    ['a lone surrogate half-escape', '{"\\u12": 1}', 0, 'fp8/bad-json'],
    ['a trailing comma', `{"a":${f32(0, 4, '[1]')},}`, 4, 'fp8/bad-json'],
    ['text after the object', '{} x', 0, 'fp8/bad-json'],
    ['an array', '[]', 0, 'fp8/bad-json'],
    ['nothing', '', 0, 'fp8/bad-json'],
  ])('%s', (_, json, dataBytes, code) => {
    expect(codeOf(() => parse(json, dataBytes))).toBe(code);
  });

  test('invalid UTF-8', () => {
    const json = Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d);
    expect(codeOf(() => parseSafetensorsHeader('f', json, 8 + json.length))).toBe('fp8/bad-json');
  });
});

describe('header length', () => {
  const prefix = (length: bigint): Uint8Array => new Uint8Array(BigUint64Array.of(length).buffer);
  test.each([
    ['beyond the limit', BigInt(MAX_HEADER_BYTES) + 1n, 2 ** 40, 'fp8/header-too-long'],
    ['of 2^64 - 1', 2n ** 64n - 1n, 100, 'fp8/header-too-long'],
    ['beyond the file', 93n, 100, 'fp8/truncated-file'],
    ['that fits', 92n, 100, 'accepted'],
  ])('%s', (_, length, fileSize, code) => {
    expect(codeOf(() => readHeaderLength('f', prefix(length), fileSize))).toBe(code);
  });

  test('of a file shorter than the prefix', () => {
    expect(codeOf(() => readHeaderLength('f', new Uint8Array(3), 3))).toBe('fp8/truncated-file');
  });

  test('names the file and a remedy', () => {
    expect(() => readHeaderLength('x.safetensors', new Uint8Array(3), 3)).toThrow(
      /^x\.safetensors: expected at least 8 bytes, got 3/,
    );
  });
});
