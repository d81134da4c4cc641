import { readFileSync } from 'node:fs';
import { deflateRawSync } from 'node:zlib';
import { fixturePath } from '@moestack/fixtures';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32 } from './crc32.js';
import { readTorchFile, writeTorchFile } from './torch-file.js';
import { TorchTensor, TorchTuple, type TorchValue } from './torch-values.js';
import { writeZip } from './zip-writer.js';

const read = (name: string) => new Uint8Array(readFileSync(fixturePath(`placement/interop/${name}`)));

/** Plain JSON of a value. */
function json(value: TorchValue): unknown {
  if (value instanceof TorchTensor) return nested([...value.numbers()], value.shape);
  if (value instanceof TorchTuple) return value.items.map(json);
  if (Array.isArray(value)) return value.map(json);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [key, json(item)]));
  return value;
}

function nested(values: number[], shape: readonly number[]): unknown {
  if (shape.length < 2) return values;
  const step = values.length / shape[0]!;
  return Array.from({ length: shape[0]! }, (_, i) =>
    nested(values.slice(i * step, (i + 1) * step), shape.slice(1)),
  );
}

describe('files that PyTorch wrote', () => {
  const expected = JSON.parse(
    readFileSync(fixturePath('placement/interop/sglang_records_expected.json'), 'utf8'),
  );
  const mapping = JSON.parse(
    readFileSync(fixturePath('placement/interop/sglang_init_expert_location_mapping.json'), 'utf8'),
  );

  it.each([
    ['sglang_stat_record', expected.stat],
    ['sglang_per_pass_record', expected.per_pass],
    ['sglang_init_expert_location_mapping', mapping],
  ])('%s.pt has the values it was made from, and is written again byte for byte', async (name, content) => {
    const bytes = read(`${name}.pt`);
    const value = await readTorchFile(bytes);
    expect(json(value)).toEqual(content);
    expect(Buffer.from(writeTorchFile(value, { name })).equals(bytes)).toBe(true);
  });
});

const scalar = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.string({ unit: 'grapheme' }),
  fc.double({ noNaN: true }).filter((value) => !Object.is(value, -0)),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.bigInt().filter((value) => value > 2n ** 53n || value < -(2n ** 53n)),
);
const tensor = fc
  .array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 24 })
  .chain((values) =>
    fc.constantFrom(
      new TorchTensor('i32', [values.length], Int32Array.from(values)),
      new TorchTensor('i64', [1, values.length, 1], BigInt64Array.from(values, BigInt)),
      new TorchTensor(
        'f64',
        [values.length],
        Float64Array.from(values, (value) => value / 3),
      ),
      new TorchTensor('u8', [values.length], Uint8Array.from(values)),
    ),
  );
const { value: anyValue } = fc.letrec<{ value: TorchValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    scalar,
    tensor,
    fc.array(tie('value')),
    fc.array(tie('value')).map((items) => new TorchTuple(items)),
    fc.array(fc.tuple(fc.string(), tie('value'))).map((entries) => new Map<TorchValue, TorchValue>(entries)),
  ),
}));

describe('writing and reading', () => {
  it('gives back any plain data', async () => {
    await fc.assert(
      fc.asyncProperty(anyValue, async (value) => {
        expect(await readTorchFile(writeTorchFile(value))).toEqual(value);
      }),
      { seed: 11, numRuns: 150 },
    );
  });

  it('keeps lists and dicts at and around the batches of the pickler', async () => {
    for (const length of [0, 1, 2, 999, 1000, 1001, 2000, 2500]) {
      const list = Array.from({ length }, (_, i) => i);
      const dict = new Map<TorchValue, TorchValue>(list.map((i) => [`key ${i}`, i]));
      expect(await readTorchFile(writeTorchFile([list, dict]))).toEqual([list, dict]);
    }
  });
});

describe('files that are refused', () => {
  const pickle = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));
  const file = (data: Uint8Array) => writeZip([['archive/data.pkl', data]]);

  it.each([
    ['a function to call', '\x80\x02cos\nsystem\n(X\x04\x00\x00\x00echotR.', 'os.system'],
    ['a builtin', '\x80\x02cbuiltins\neval\n.', 'builtins.eval'],
    ['the opcode that builds an object', '\x80\x02}}b.', 'opcode 0x62'],
    ['the opcode that makes an instance', '\x80\x02(ios\nsystem\n.', 'opcode 0x69'],
    [
      'a storage as a value',
      '\x80\x02(X\x07\x00\x00\x00storagectorch\nIntStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ.',
      'stands for',
    ],
    ['a name as a value', '\x80\x02ctorch\nIntStorage\n.', 'stands for'],
    ['a memo with gaps', '\x80\x02Nr\xff\xff\xff\x0f.', 'memo'],
    ['a memo that was not set', '\x80\x02h\x05.', 'memo 5'],
    ['a text beyond the end', '\x80\x02X\xff\xff\xff\x7fab.', 'ends in the middle'],
    ['an end that is missing', '\x80\x02}', 'ends in the middle'],
    ['an empty stack', '\x80\x02.', 'stack'],
    ['values that are left', '\x80\x02NN.', 'left'],
    ['odd items', '\x80\x02}(Nu.', 'no dict'],
  ])('%s', async (_, text, message) => {
    const error = await readTorchFile(file(pickle(text))).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'placement/bad-file', message: expect.stringContaining(message) });
  });

  it('a tensor beyond its storage, of too many bytes, or of another length than its file', async () => {
    const bytes = writeTorchFile(new TorchTensor('u8', [4], Uint8Array.of(1, 2, 3, 4)));
    const reach = async (from: number[], to: number[]) => {
      const copy = bytes.slice();
      const at = Buffer.from(copy).indexOf(Buffer.from(from));
      expect(at).toBeGreaterThan(0);
      const data = writeZip([
        [
          'archive/data.pkl',
          Uint8Array.from([...copy.slice(64, at), ...to, ...copy.slice(at + from.length, pickleEnd(copy))]),
        ],
        ['archive/data/0', Uint8Array.of(1, 2, 3, 4)],
      ]);
      return readTorchFile(data).then(
        () => 'read',
        (error: Error) => error.message,
      );
    };
    // Shape (4,) with stride (1,): offset 0 is `K\0K\4\x85`.
    expect(await reach([0x4b, 0, 0x4b, 4, 0x85], [0x4b, 1, 0x4b, 4, 0x85])).toContain(
      'reaches element 4 of 4',
    );
    expect(await reach([0x4b, 1, 0x85], [0x4b, 2, 0x85])).toContain('reaches element 6');
    expect(await reach([0x4b, 4, 0x74], [0x4b, 5, 0x74])).toContain('got 4 bytes');
    expect(await reach([0x4b, 0, 0x4b, 4, 0x85], [0x4b, 0, 0x4b, 4, 0x85])).toBe('read');
    const huge = [0x8a, 6, 0, 0, 0, 0, 0, 1];
    expect(await reach([0x4b, 4, 0x85], [...huge, 0x85])).toContain('reaches element');
  });

  it('an expanded tensor that is larger than the limit', async () => {
    // Stride 0 repeats one element: shape (2^40,) needs a byte of data only.
    const text =
      '\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nByteStorage\nX\x01\x00\x00\x000' +
      'X\x03\x00\x00\x00cpuK\x01tQK\x00\x8a\x06\x00\x00\x00\x00\x00\x01\x85K\x00\x85\x89ccollections\nOrderedDict\n)RtR.';
    const bytes = writeZip([
      ['a/data.pkl', pickle(text)],
      ['a/data/0', Uint8Array.of(7)],
    ]);
    await expect(readTorchFile(bytes)).rejects.toMatchObject({ code: 'placement/bad-file', value: 2 ** 40 });
  });

  it('the format before PyTorch 1.6, other archives, and files that are cut off', async () => {
    await expect(readTorchFile(pickle('\x80\x02\x8a'))).rejects.toThrow('old format');
    await expect(readTorchFile(new Uint8Array(0))).rejects.toThrow('no directory');
    await expect(readTorchFile(writeZip([['a/readme', new Uint8Array(3)]]))).rejects.toThrow('data.pkl');
    const whole = read('sglang_stat_record.pt');
    for (let length = 0; length < whole.length; length += 97) {
      await expect(readTorchFile(whole.slice(0, length))).rejects.toMatchObject({
        code: 'placement/bad-file',
      });
    }
  });

  it('more bytes than the caller allows', async () => {
    await expect(readTorchFile(read('sglang_stat_record.pt'), { maxBytes: 1000 })).rejects.toThrow(
      'at most 1000',
    );
  });
});

describe('views of storages', () => {
  const view = (shape: number[], strides: number[], offset: number) => {
    const tuple = (values: number[]) =>
      values.map((value) => `K${String.fromCharCode(value)}`).join('') +
      (values.length === 1 ? '\x85' : '\x86');
    const text =
      '\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nShortStorage\nX\x01\x00\x00\x000' +
      `X\x06\x00\x00\x00cuda:0K\x06tQK${String.fromCharCode(offset)}${tuple(shape)}${tuple(strides)}\x89ccollections\nOrderedDict\n)RtR.`;
    return readTorchFile(
      writeZip([
        ['a/data.pkl', Uint8Array.from(text, (character) => character.charCodeAt(0))],
        ['a/data/0', new Uint8Array(Int16Array.of(1, 2, 3, 4, 5, -6).buffer)],
      ]),
    );
  };

  it('are made dense: transposed, strided, repeated, and from an offset', async () => {
    expect(await view([3, 2], [1, 3], 0)).toEqual(
      new TorchTensor('i16', [3, 2], Int16Array.of(1, 4, 2, 5, 3, -6)),
    );
    expect(await view([3], [2], 1)).toEqual(new TorchTensor('i16', [3], Int16Array.of(2, 4, -6)));
    expect(await view([2, 2], [0, 1], 4)).toEqual(
      new TorchTensor('i16', [2, 2], Int16Array.of(5, -6, 5, -6)),
    );
    expect(await view([0], [1], 99)).toEqual(new TorchTensor('i16', [0], new Int16Array(0)));
    expect(await view([1, 2], [77, 1], 4)).toEqual(new TorchTensor('i16', [1, 2], Int16Array.of(5, -6)));
  });
});

it('archives with zip64 sizes are read', async () => {
  const value = new Map<TorchValue, TorchValue>([['a', 1]]);
  const stored = writeTorchFile(value);
  const content = stored.slice(64, pickleEnd(stored));
  const name = Buffer.from('archive/data.pkl');
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(name.length, 26);
  const extra = Buffer.alloc(28);
  extra.writeUInt16LE(1, 0);
  extra.writeUInt16LE(24, 2);
  extra.writeBigUInt64LE(BigInt(content.length), 4);
  extra.writeBigUInt64LE(BigInt(content.length), 12);
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt32LE(crc32(content), 16);
  for (const at of [20, 24, 42]) entry.writeUInt32LE(0xffffffff, at);
  entry.writeUInt16LE(name.length, 28);
  entry.writeUInt16LE(extra.length, 30);
  const directory = 30 + name.length + content.length;
  const end64 = Buffer.alloc(76);
  end64.writeUInt32LE(0x06064b50, 0);
  end64.writeBigUInt64LE(1n, 32);
  end64.writeBigUInt64LE(BigInt(directory), 48);
  end64.writeUInt32LE(0x07064b50, 56);
  end64.writeBigUInt64LE(BigInt(directory + 46 + name.length + extra.length), 64);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(0xffff, 10);
  end.writeUInt32LE(0xffffffff, 16);
  const file = Buffer.concat([header, name, content, entry, name, extra, end64, end]);
  expect(await readTorchFile(new Uint8Array(file))).toEqual(value);
  file.writeUInt16LE(16, directory + 46 + name.length + 2);
  await expect(readTorchFile(new Uint8Array(file))).rejects.toThrow('zip64 size is missing');
});

describe('deflated archives', () => {
  const { bytes, stored } = deflated();

  it('are read as stored ones', async () => {
    expect(await readTorchFile(bytes)).toEqual(await readTorchFile(stored));
  });

  it('that promise another length are refused', async () => {
    for (const delta of [-1, 1, 2 ** 30]) {
      const copy = bytes.slice();
      const view = new DataView(copy.buffer);
      const directory = Buffer.from(copy).indexOf(Buffer.from('PK\x01\x02', 'latin1'));
      view.setUint32(directory + 24, view.getUint32(directory + 24, true) + delta, true);
      await expect(readTorchFile(copy)).rejects.toMatchObject({ code: 'placement/bad-file' });
    }
  });
});

/** End of the pickle, behind its header of 64 bytes: its length is in the descriptor behind it. */
function pickleEnd(bytes: Uint8Array): number {
  return Buffer.from(bytes).indexOf(Buffer.from('PK\x07\x08', 'latin1'));
}

/** A small file with its pickle deflated, made by hand since `torch.save` stores. */
function deflated() {
  const value = new Map<TorchValue, TorchValue>([['text', 'ab'.repeat(300)]]);
  const stored = writeTorchFile(value);
  const content = stored.slice(64, pickleEnd(stored));
  const packed = deflateRawSync(content);
  const name = Buffer.from('archive/data.pkl');
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x04034b50, 0);
  header.writeUInt16LE(8, 8);
  header.writeUInt16LE(name.length, 26);
  const entry = Buffer.alloc(46);
  entry.writeUInt32LE(0x02014b50, 0);
  entry.writeUInt16LE(8, 10);
  entry.writeUInt32LE(crc32(content), 16);
  entry.writeUInt32LE(packed.length, 20);
  entry.writeUInt32LE(content.length, 24);
  entry.writeUInt16LE(name.length, 28);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(46 + name.length, 12);
  end.writeUInt32LE(30 + name.length + packed.length, 16);
  return { bytes: new Uint8Array(Buffer.concat([header, name, packed, entry, name, end])), stored };
}
