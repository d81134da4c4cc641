import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { ByteSource } from './byte-source.js';
import { CheckpointError } from './errors.js';

/** Opening a named pipe would wait for its other end; absent on Windows, which has none of them. */
const OPEN_FLAGS: number = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** Node refuses single reads of 2 GiB and more. */
const MAX_READ_BYTES = 2 ** 30;

/**
 * Opens a file as a {@link ByteSource} with positioned reads; close it through `close()`.
 *
 * @throws {@link CheckpointError} `fp8/missing-file` or `fp8/read-failed`.
 */
export async function fileSource(path: string, name: string = path): Promise<Required<ByteSource>> {
  let size: number;
  const handle = await open(path, OPEN_FLAGS).catch((cause: NodeJS.ErrnoException) => {
    throw openFailure(name, cause);
  });
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new Error('not a regular file');
    size = stat.size;
  } catch (cause) {
    await handle.close();
    throw openFailure(name, cause as NodeJS.ErrnoException);
  }
  const readInto = async (offset: number, target: Uint8Array): Promise<void> => {
    for (let done = 0; done < target.length; ) {
      const length = Math.min(target.length - done, MAX_READ_BYTES);
      const { bytesRead } = await handle.read(target, done, length, offset + done);
      if (bytesRead === 0) {
        throw new CheckpointError(name, {
          code: 'fp8/short-read',
          message: `expected ${target.length} bytes at ${offset}, got ${done}`,
          value: done,
          remedy: 'the file was truncated after it was opened: open it again',
        });
      }
      done += bytesRead;
    }
  };
  return {
    size,
    readInto,
    read: async (offset, length) => {
      const target = new Uint8Array(length);
      await readInto(offset, target);
      return target;
    },
    close: () => handle.close(),
  };
}

function openFailure(name: string, cause: NodeJS.ErrnoException): CheckpointError {
  const missing = cause.code === 'ENOENT';
  return new CheckpointError(name, {
    code: missing ? 'fp8/missing-file' : 'fp8/read-failed',
    message: missing ? 'the file does not exist' : `cannot be opened: ${cause.message}`,
    value: cause.code,
    remedy: missing ? 'fetch the missing file' : 'check the path and its permissions',
    cause,
  });
}
