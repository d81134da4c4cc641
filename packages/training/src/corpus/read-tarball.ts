import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { TrainingError } from '../errors.js';

/** Most bytes that a package may unpack to. */
export const MAX_UNPACKED_BYTES: number = 256 * 1024 * 1024;

const BLOCK = 512;

/**
 * Files of a `.tgz` by name. Links, devices and folders are left out; nothing is written anywhere.
 *
 * @throws TrainingError `training/bad-package` for bytes that are no such archive, or that unpack to too much.
 */
export async function readTarball(packed: Uint8Array): Promise<Map<string, Uint8Array>> {
  let bytes: Uint8Array;
  try {
    bytes = await promisify(gunzip)(packed, { maxOutputLength: MAX_UNPACKED_BYTES });
  } catch (cause) {
    throw badArchive(`not gzip, or more than ${MAX_UNPACKED_BYTES} bytes`, cause);
  }
  const files = new Map<string, Uint8Array>();
  let longName: string | undefined;
  for (let at = 0; at + BLOCK <= bytes.length; ) {
    const header = bytes.subarray(at, at + BLOCK);
    if (header.every((byte) => byte === 0)) break;
    const size = octal(header, 124, 12);
    const start = at + BLOCK;
    if (!checksumHolds(header)) throw badArchive(`wrong checksum at byte ${at}`);
    if (start + size > bytes.length) throw badArchive(`an entry of ${size} bytes passes the end`);
    const content = bytes.subarray(start, start + size);
    const type = String.fromCharCode(header[156]!);
    if (type === 'x') longName = paxPath(content) ?? longName;
    else if (type === 'L') longName = text(content, 0, content.length);
    else {
      if (type === '0' || type === '\0') files.set(longName ?? ustarName(header), content);
      longName = undefined;
    }
    at = start + Math.ceil(size / BLOCK) * BLOCK;
  }
  return files;
}

function ustarName(header: Uint8Array): string {
  const prefix = text(header, 257, 5) === 'ustar' ? text(header, 345, 155) : '';
  const name = text(header, 0, 100);
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** `path` of a PAX header: records of `length key=value\n`. */
function paxPath(content: Uint8Array): string | undefined {
  for (const record of text(content, 0, content.length).split('\n')) {
    const match = /^\d+ path=(.*)$/.exec(record);
    if (match !== null) return match[1];
  }
  return undefined;
}

function checksumHolds(header: Uint8Array): boolean {
  let sum = 0;
  // The field itself counts as eight spaces.
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 0x20 : header[i]!;
  return sum === octal(header, 148, 8);
}

function octal(header: Uint8Array, at: number, length: number): number {
  const digits = text(header, at, length).trim();
  if (!/^[0-7]{1,11}$/.test(digits)) throw badArchive(`not an octal number: ${JSON.stringify(digits)}`);
  return Number.parseInt(digits, 8);
}

function text(bytes: Uint8Array, at: number, length: number): string {
  const field = bytes.subarray(at, at + length);
  const end = field.indexOf(0);
  return new TextDecoder('utf-8').decode(end === -1 ? field : field.subarray(0, end));
}

function badArchive(reason: string, cause?: unknown): TrainingError {
  return new TrainingError({
    code: 'training/bad-package',
    message: `expected a package archive (.tgz): ${reason}`,
    value: reason,
    remedy: 'delete it from the cache and run the command again',
    ...(cause === undefined ? {} : { cause }),
  });
}
