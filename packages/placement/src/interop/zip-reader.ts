import { crc32 } from './crc32.js';
import { badFile, checkFileSize, type EngineFileLimits, limits } from './limits.js';

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const END_BYTES = 22;
const UNKNOWN_32 = 0xffffffff;

interface ZipEntry {
  readonly method: number;
  readonly crc: number;
  readonly packedBytes: number;
  readonly bytes: number;
  readonly offset: number;
}

/**
 * A zip archive in memory: stored and deflated files, zip64 included; no encryption, no parts, no paths on any disk.
 * Sizes are believed from the central directory only, and all of them together stay within the limit.
 */
export class ZipReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #entries = new Map<string, ZipEntry>();

  constructor(bytes: Uint8Array, options: EngineFileLimits = {}) {
    const maxBytes = checkFileSize(bytes.length, options);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#readDirectory(maxBytes);
  }

  /** Names of the files, in the order of the archive. */
  names(): string[] {
    return [...this.#entries.keys()];
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /** Length of a file, once unpacked. */
  size(name: string): number {
    return this.#entry(name).bytes;
  }

  /** The content of a file, checked against its CRC; stored files are views of the archive. */
  async read(name: string): Promise<Uint8Array> {
    const entry = this.#entry(name);
    const { offset, packedBytes } = entry;
    this.#need(offset, 30, name);
    if (this.#view.getUint32(offset, true) !== LOCAL) throw damaged(`no local header for ${shown(name)}`);
    const start =
      offset + 30 + this.#view.getUint16(offset + 26, true) + this.#view.getUint16(offset + 28, true);
    this.#need(start, packedBytes, name);
    const packed = this.#bytes.subarray(start, start + packedBytes);
    const content = entry.method === 0 ? packed : await inflate(packed, entry.bytes, name);
    if (crc32(content) !== entry.crc) throw damaged(`the checksum of ${shown(name)} does not match`);
    return content;
  }

  #entry(name: string): ZipEntry {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw damaged(`expected a file ${shown(name)} in the archive`);
    return entry;
  }

  #need(offset: number, length: number, what: string): void {
    if (offset + length <= this.#bytes.length) return;
    throw damaged(`${shown(what)} reaches beyond the end of the archive`);
  }

  #readDirectory(maxBytes: number): void {
    const { entries, offset } = this.#findDirectory();
    if (entries > limits.zipEntries) throw damaged(`${entries} files are more than ${limits.zipEntries}`);
    const decoder = new TextDecoder();
    let at = offset;
    let total = 0;
    for (let i = 0; i < entries; i++) {
      this.#need(at, 46, 'the directory');
      if (this.#view.getUint32(at, true) !== CENTRAL) throw damaged('its directory is damaged');
      const nameLength = this.#view.getUint16(at + 28, true);
      const extraLength = this.#view.getUint16(at + 30, true);
      const next = at + 46 + nameLength + extraLength + this.#view.getUint16(at + 32, true);
      this.#need(at, next - at, 'the directory');
      const name = decoder.decode(this.#bytes.subarray(at + 46, at + 46 + nameLength));
      const entry = this.#readEntry(at, at + 46 + nameLength, extraLength, name);
      total += entry.bytes;
      if (total > maxBytes) {
        throw badFile(
          `expected at most ${maxBytes} bytes once unpacked`,
          total,
          'raise maxBytes, or record less',
        );
      }
      if (this.#entries.has(name)) throw damaged(`two files are named ${shown(name)}`);
      this.#entries.set(name, entry);
      at = next;
    }
  }

  #readEntry(at: number, extra: number, extraLength: number, name: string): ZipEntry {
    const view = this.#view;
    if ((view.getUint16(at + 8, true) & 1) !== 0) throw damaged(`${shown(name)} is encrypted`);
    const method = view.getUint16(at + 10, true);
    if (method !== 0 && method !== 8) {
      throw damaged(`${shown(name)} is packed by method ${method}; stored and deflated can be read`);
    }
    const wide = new Wide(view, extra, extraLength);
    const bytes = wide.value(view.getUint32(at + 24, true));
    const packedBytes = wide.value(view.getUint32(at + 20, true));
    const offset = wide.value(view.getUint32(at + 42, true));
    if (method === 0 && bytes !== packedBytes) throw damaged(`${shown(name)} is stored in two lengths`);
    return { method, crc: view.getUint32(at + 16, true), packedBytes, bytes, offset };
  }

  #findDirectory(): { entries: number; offset: number } {
    const view = this.#view;
    const last = this.#bytes.length - END_BYTES;
    for (let at = last; at >= 0 && at >= last - 0xffff; at--) {
      if (view.getUint32(at, true) !== END) continue;
      const entries = view.getUint16(at + 10, true);
      const offset = view.getUint32(at + 16, true);
      if (entries !== 0xffff && offset !== UNKNOWN_32) return { entries, offset };
      this.#need(at - 20, 20, 'the directory');
      if (at < 20 || view.getUint32(at - 20, true) !== LOCATOR_64) return { entries, offset };
      const end = safe(view.getBigUint64(at - 12, true));
      this.#need(end, 56, 'the directory');
      if (view.getUint32(end, true) !== END_64) throw damaged('its zip64 directory is damaged');
      return {
        entries: safe(view.getBigUint64(end + 32, true)),
        offset: safe(view.getBigUint64(end + 48, true)),
      };
    }
    throw damaged('it has no directory: no zip archive, or the end of it is missing');
  }
}

/** 64-bit values of the zip64 extra field, taken in turn by the fields that are full. */
class Wide {
  readonly #view: DataView;
  #at = 0;
  #end = 0;

  constructor(view: DataView, extra: number, length: number) {
    this.#view = view;
    for (let at = extra; at + 4 <= extra + length; ) {
      const size = view.getUint16(at + 2, true);
      if (view.getUint16(at, true) === 1) {
        this.#at = at + 4;
        this.#end = Math.min(at + 4 + size, extra + length);
        return;
      }
      at += 4 + size;
    }
  }

  value(narrow: number): number {
    if (narrow !== UNKNOWN_32) return narrow;
    if (this.#at + 8 > this.#end) throw damaged('a zip64 size is missing');
    this.#at += 8;
    return safe(this.#view.getBigUint64(this.#at - 8, true));
  }
}

/** Unpacks to at most the length that the directory promises. */
async function inflate(packed: Uint8Array, bytes: number, name: string): Promise<Uint8Array> {
  // Deflate cannot do better than 1032:1, so a promise beyond that is refused before it is allocated.
  if (bytes > packed.length * 1032 + 64) throw damaged(`${shown(name)} promises more than it can hold`);
  const out = new Uint8Array(bytes);
  let at = 0;
  const reader = new Blob([packed as Uint8Array<ArrayBuffer>])
    .stream()
    .pipeThrough(new DecompressionStream('deflate-raw'))
    .getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > bytes) throw damaged(`${shown(name)} is longer than its directory says`);
      out.set(value, at);
      at += value.length;
    }
  } catch (cause) {
    await reader.cancel().catch(() => undefined);
    throw damaged(`${shown(name)} cannot be unpacked`, cause);
  }
  if (at !== bytes) throw damaged(`${shown(name)} is shorter than its directory says`);
  return out;
}

function safe(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged('a size is beyond 2^53');
  return Number(value);
}

function shown(name: string): string {
  return JSON.stringify(name.slice(0, 100));
}

function damaged(what: string, cause?: unknown): Error {
  return badFile(`cannot read the archive: ${what}`, what, 'record or copy the file again', cause);
}
