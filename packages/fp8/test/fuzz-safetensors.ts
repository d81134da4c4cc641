import { type Below, type FuzzResult, fuzzed } from '@moestack/fixtures';
import { MoestackError } from '@moestack/schemas/errors';
import { parseCheckpointIndex, parseQuantizationConfig } from '../src/checkpoint-index.js';
import { scaleLayout } from '../src/checkpoint-scales.js';
import {
  elementCount,
  HEADER_PREFIX_BYTES,
  parseSafetensorsHeader,
  readHeaderLength,
} from '../src/safetensors-header.js';
import { storedToFloat32 } from '../src/stored-values.js';

const HOSTILE_NUMBERS = [
  '-1',
  '0',
  '1e9',
  '0.5',
  '007',
  '4294967296',
  '9007199254740991',
  '9007199254740993',
  '18446744073709551616',
  'NaN',
  'null',
  '[]',
  '"1"',
];
const HOSTILE_TEXTS = [
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '"',
  '\\',
  '\\u0000',
  '\\ud800',
  '__proto__',
  '__metadata__',
  'constructor',
  '../../etc/passwd',
  'F32',
  'F8_E4M3',
  'C64',
  'F4',
  'shape',
  'data_offsets',
  '[['.repeat(200),
  '{"a":'.repeat(200),
];

/**
 * Mutates valid safetensors files, indexes and configurations and feeds them to the parsers.
 *
 * @param seed - same seed, same inputs.
 * @throws Error naming seed and iteration when anything but a MoestackError comes out.
 */
export function fuzz(seed: number, iterations: number): Promise<FuzzResult> {
  return fuzzed(seed, iterations, MoestackError.isInstance, (below) => {
    const kind = below(8);
    const input = mutate(kind === 0 ? indexJson() : kind === 1 ? configJson() : safetensors(below), below);
    if (kind === 0) parseCheckpointIndex('index.json', input);
    else if (kind === 1) parseQuantizationConfig('config.json', input);
    else readFile(input);
  });
}

/** Parses a file and decodes every tensor, as opening and reading a checkpoint does. */
function readFile(file: Uint8Array): void {
  const length = readHeaderLength('f', file.subarray(0, HEADER_PREFIX_BYTES), file.length);
  const json = file.subarray(HEADER_PREFIX_BYTES, HEADER_PREFIX_BYTES + length);
  const { tensors } = parseSafetensorsHeader('f', json, file.length);
  for (const [name, entry] of tensors) {
    const located = { ...entry, file: 'f' };
    const scale = tensors.get(`${name}_scale_inv`);
    scaleLayout(name, located, scale && { ...scale, file: 'f' }, { method: 'fp8', block: [2, 2] });
    const values = new Float32Array(elementCount(entry));
    storedToFloat32(entry.dtype, file.slice(entry.offset, entry.offset + entry.bytes), values);
  }
}

/** Up to three edits that break bytes, structure or numbers of a file; the length prefix is repaired where it can be. */
export function mutate(input: Uint8Array, below: Below): Uint8Array {
  let bytes = input;
  for (let edits = 1 + below(3); edits > 0; edits--) {
    const at = below(bytes.length + 1);
    switch (below(7)) {
      case 0:
        bytes = bytes.slice();
        if (at < bytes.length) bytes[at] = below(256);
        break;
      case 1:
        bytes = bytes.slice(0, at);
        break;
      case 2:
        bytes = splice(bytes, at, at + below(16), new Uint8Array());
        break;
      case 3: {
        const from = below(bytes.length + 1);
        bytes = splice(bytes, at, at, bytes.slice(from, from + below(64)));
        break;
      }
      case 4:
        bytes = splice(bytes, at, at + below(4), text(HOSTILE_TEXTS[below(HOSTILE_TEXTS.length)]!));
        break;
      case 5:
        bytes = replaceNumber(bytes, below);
        break;
      default: {
        bytes = bytes.slice();
        const start = below(Math.min(8, bytes.length));
        if (bytes.length > 0) bytes[start] = below(2) === 0 ? 0xff : below(256);
      }
    }
  }
  return bytes;
}

/** Swaps one number of the text for a hostile one and repairs the length prefix, so that the parser sees it. */
function replaceNumber(bytes: Uint8Array, below: Below): Uint8Array {
  const digits: number[] = [];
  for (let i = HEADER_PREFIX_BYTES; i < bytes.length; i++) {
    if (isDigit(bytes[i]!) && !isDigit(bytes[i - 1]!)) digits.push(i);
  }
  if (digits.length === 0) return bytes;
  const start = digits[below(digits.length)]!;
  let end = start;
  while (end < bytes.length && isDigit(bytes[end]!)) end++;
  const number = text(HOSTILE_NUMBERS[below(HOSTILE_NUMBERS.length)]!);
  const result = splice(bytes, start, end, number);
  if (bytes[0] !== 0x7b) {
    const view = new DataView(result.buffer);
    view.setUint32(0, view.getUint32(0, true) + result.length - bytes.length, true);
  }
  return result;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

function splice(bytes: Uint8Array, start: number, end: number, insert: Uint8Array): Uint8Array {
  const tail = bytes.subarray(Math.min(end, bytes.length));
  const result = new Uint8Array(start + insert.length + tail.length);
  result.set(bytes.subarray(0, start));
  result.set(insert, start);
  result.set(tail, start + insert.length);
  return result;
}

function safetensors(below: Below): Uint8Array {
  const tensors: [dtype: string, shape: number[], bytes: number][] = [
    ['F8_E4M3', [3, 5], 15],
    ['F32', [2, 3], 24],
    ['BF16', [below(3), 7], 0],
    ['F64', [], 8],
    ['F4', [3, 2], 3],
    ['I64', [below(2), 1], 0],
  ];
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  tensors.forEach(([dtype, shape, fixed], i) => {
    const elements = shape.reduce((product, dimension) => product * dimension, 1);
    const bytes = fixed || elements * (dtype === 'BF16' ? 2 : 8);
    const name = i === 0 ? 'w.weight' : i === 1 ? 'w.weight_scale_inv' : `t${i}`;
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  });
  const json = text(JSON.stringify(header));
  const file = new Uint8Array(HEADER_PREFIX_BYTES + json.length + offset);
  new DataView(file.buffer).setUint32(0, json.length, true);
  file.set(json, HEADER_PREFIX_BYTES);
  for (let i = HEADER_PREFIX_BYTES + json.length; i < file.length; i++) file[i] = below(256);
  return file;
}

function indexJson(): Uint8Array {
  const shard = (i: number): string => `model-0000${i}-of-00002.safetensors`;
  return text(JSON.stringify({ metadata: { total_size: 10 }, weight_map: { a: shard(1), b: shard(2) } }));
}

function configJson(): Uint8Array {
  const quantization = { quant_method: 'fp8', weight_block_size: [128, 128], fmt: 'e4m3' };
  return text(JSON.stringify({ hidden_size: 64, x: [1.5, true, null], quantization_config: quantization }));
}

function text(characters: string): Uint8Array {
  return new TextEncoder().encode(characters);
}
