import { crc32 } from './crc32.js';
import { badFile } from './limits.js';

/** Tensor data begins at multiples of this, so that engines may map it. */
const ALIGNMENT = 64;
/** UTF-8 names, sizes behind the data. */
const FLAGS = 0x0808;

/** Highest value of the classic size fields. */
const MAX_32 = 0xffffffff;

/**
 * A zip archive of stored files in the layout that `torch.save` writes: aligned data, sizes in descriptors behind it,
 * no times, a zip64 directory beside the classic one.
 */
export function writeZip(files: readonly (readonly [name: string, content: Uint8Array])[]): Uint8Array {
  const encoder = new TextEncoder();
  const records = files.map(([name, content]) => ({
    name: encoder.encode(name),
    content,
    crc: crc32(content),
  }));
  const offsets: number[] = [];
  let size = 0;
  for (const { name, content } of records) {
    offsets.push(size);
    size = dataStart(size, name.length) + content.length + 16;
  }
  const directory = size;
  for (const { name } of records) size += 46 + name.length;
  const directoryBytes = size - directory;
  size += 56 + 20 + 22;
  if (size > MAX_32 || files.length >= 0xffff) {
    throw badFile(
      `expected an archive of at most 4 GiB and 65534 files, got ${size} bytes in ${files.length}`,
      size,
      'write fewer or smaller tensors',
    );
  }
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  for (const [i, { name, content, crc }] of records.entries()) {
    const at = offsets[i]!;
    const start = dataStart(at, name.length);
    const extra = start - at - 30 - name.length;
    view.setUint32(at, 0x04034b50, true);
    view.setUint16(at + 6, FLAGS, true);
    view.setUint16(at + 26, name.length, true);
    view.setUint16(at + 28, extra, true);
    out.set(name, at + 30);
    out.set([0x46, 0x42], at + 30 + name.length);
    view.setUint16(at + 32 + name.length, extra - 4, true);
    out.fill(0x5a, at + 34 + name.length, start);
    out.set(content, start);
    const end = start + content.length;
    view.setUint32(end, 0x08074b50, true);
    view.setUint32(end + 4, crc, true);
    view.setUint32(end + 8, content.length, true);
    view.setUint32(end + 12, content.length, true);
  }
  let at = directory;
  for (const [i, { name, content, crc }] of records.entries()) {
    view.setUint32(at, 0x02014b50, true);
    view.setUint16(at + 8, FLAGS, true);
    view.setUint32(at + 16, crc, true);
    view.setUint32(at + 20, content.length, true);
    view.setUint32(at + 24, content.length, true);
    view.setUint16(at + 28, name.length, true);
    view.setUint32(at + 42, offsets[i]!, true);
    out.set(name, at + 46);
    at += 46 + name.length;
  }
  writeEnd(view, at, { files: files.length, directory, directoryBytes });
  return out;
}

function dataStart(offset: number, nameLength: number): number {
  return Math.ceil((offset + 30 + nameLength + 4) / ALIGNMENT) * ALIGNMENT;
}

function writeEnd(
  view: DataView,
  at: number,
  { files, directory, directoryBytes }: { files: number; directory: number; directoryBytes: number },
): void {
  view.setUint32(at, 0x06064b50, true);
  view.setBigUint64(at + 4, 44n, true);
  view.setUint16(at + 12, 0x031e, true);
  view.setUint16(at + 14, 45, true);
  view.setBigUint64(at + 24, BigInt(files), true);
  view.setBigUint64(at + 32, BigInt(files), true);
  view.setBigUint64(at + 40, BigInt(directoryBytes), true);
  view.setBigUint64(at + 48, BigInt(directory), true);
  view.setUint32(at + 56, 0x07064b50, true);
  view.setBigUint64(at + 64, BigInt(at), true);
  view.setUint32(at + 72, 1, true);
  view.setUint32(at + 76, 0x06054b50, true);
  view.setUint16(at + 84, files, true);
  view.setUint16(at + 86, files, true);
  view.setUint32(at + 88, directoryBytes, true);
  view.setUint32(at + 92, directory, true);
}
