import { MoestackError } from '@moestack/schemas/errors';
import { CheckpointError } from './errors.js';

/** Random access to the bytes of a file, a Blob, a URL or memory. */
export interface ByteSource {
  readonly size: number;
  /** Exactly `length` bytes from `offset` on; may be a view of longer-lived memory, so callers do not write to it. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Like `read`, but into memory of the caller; sources without it are read through `read`. */
  readInto?(offset: number, target: Uint8Array): Promise<void>;
  /** Releases what the source holds open. */
  close?(): Promise<void>;
}

/** A {@link ByteSource} over bytes in memory; `read` returns views, not copies. */
export function memorySource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
    readInto: (offset, target) => {
      target.set(bytes.subarray(offset, offset + target.length));
      return Promise.resolve();
    },
  };
}

/** Reads exactly `length` bytes, or throws a {@link CheckpointError} that names `file`. */
export async function readExactly(
  file: string,
  source: ByteSource,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    bytes = await source.read(offset, length);
  } catch (cause) {
    throw readFailure(file, cause);
  }
  if (!(bytes instanceof Uint8Array) || bytes.length !== length) {
    throw new CheckpointError(file, {
      code: 'fp8/short-read',
      message: `expected ${length} bytes at ${offset}, got ${bytes?.length}`,
      value: bytes?.length,
      remedy: 'the file was truncated after it was opened: open it again',
    });
  }
  return bytes;
}

/** Fills `target` from `offset` on, without a copy when the source can do so. */
export async function fill(
  file: string,
  source: ByteSource,
  offset: number,
  target: Uint8Array,
): Promise<void> {
  if (target.length === 0) return;
  if (source.readInto === undefined) {
    target.set(await readExactly(file, source, offset, target.length));
    return;
  }
  try {
    await source.readInto(offset, target);
  } catch (cause) {
    throw readFailure(file, cause);
  }
}

function readFailure(file: string, cause: unknown): MoestackError {
  if (MoestackError.isInstance(cause)) return cause;
  return new CheckpointError(file, {
    code: 'fp8/read-failed',
    message: `reading failed: ${cause instanceof Error ? cause.message : String(cause)}`,
    remedy: 'check that the source is still readable',
    cause,
  });
}
