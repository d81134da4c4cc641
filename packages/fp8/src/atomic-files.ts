import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { Fp8Error } from './errors.js';

/** Suffix of files that are not complete yet. */
export const PARTIAL_SUFFIX = '.partial';

/** Bytes after which writing to the disk begins, long before the file is complete. */
const FLUSH_BYTES = 2 ** 23;

/** Writes beside `path` and renames when `body` has succeeded and the data are on disk; else removes what was written. */
export async function writeAtomically(
  path: string,
  body: (write: (bytes: Uint8Array, position: number) => Promise<void>) => Promise<void>,
): Promise<void> {
  const partial = path + PARTIAL_SUFFIX;
  const handle = await create(path, partial);
  let flushing: Promise<void> | undefined;
  let unflushedBytes = 0;
  const write = async (bytes: Uint8Array, position: number): Promise<void> => {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await handle
        .write(bytes, done, bytes.length - done, position + done)
        .catch((cause: NodeJS.ErrnoException) => {
          throw writeFailure(path, cause);
        });
      done += bytesWritten;
    }
    unflushedBytes += bytes.length;
    if (unflushedBytes < FLUSH_BYTES || flushing !== undefined) return;
    // The disk works while the rest is converted; errors come again at the end.
    unflushedBytes = 0;
    flushing = handle
      .datasync()
      .catch(() => undefined)
      .finally(() => {
        flushing = undefined;
      });
  };
  try {
    try {
      await body(write);
      await handle.sync().catch((cause: NodeJS.ErrnoException) => {
        throw writeFailure(path, cause);
      });
    } finally {
      await flushing;
      await handle.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}

/** Writes a small file and gives it its name; `durable` ends when it is on disk. */
export async function writeNamed(path: string, bytes: Uint8Array): Promise<{ durable: Promise<void> }> {
  const partial = path + PARTIAL_SUFFIX;
  const { written, done } = writeAndSync(path, await create(path, partial), bytes);
  // Reported to whoever awaits it.
  done.catch(() => undefined);
  await written;
  await rename(partial, path);
  return { durable: done };
}

interface StagedFile {
  readonly path: string;
  readonly partial: string;
  /** Ends when the data are on disk and the file is closed. */
  readonly synced: Promise<void>;
}

/** Small files that are to appear together at the end of other work, on disk by then: they are synced meanwhile. */
export class StagedFiles {
  private readonly files: StagedFile[] = [];

  /** Writes a file under its temporary name. */
  async add(path: string, bytes: Uint8Array): Promise<void> {
    const partial = path + PARTIAL_SUFFIX;
    const handle = await create(path, partial);
    const synced = writeAndSync(path, handle, bytes);
    // Reported by commit().
    synced.written.catch(() => undefined);
    synced.done.catch(() => undefined);
    this.files.push({ path, partial, synced: synced.done });
    await synced.written;
  }

  /** Gives the files their names, once all are on disk. */
  async commit(): Promise<void> {
    await Promise.all(this.files.map(({ synced }) => synced));
    for (const { partial, path } of this.files) {
      await rename(partial, path).catch((cause: NodeJS.ErrnoException) => {
        throw writeFailure(path, cause);
      });
    }
    this.files.length = 0;
  }

  /** Removes what was not committed. */
  async discard(): Promise<void> {
    await Promise.allSettled(this.files.map(({ synced }) => synced));
    for (const { partial } of this.files) await rm(partial, { force: true });
    this.files.length = 0;
  }
}

function writeAndSync(
  path: string,
  handle: FileHandle,
  bytes: Uint8Array,
): { written: Promise<void>; done: Promise<void> } {
  const written = handle.writeFile(bytes).catch((cause: NodeJS.ErrnoException) => {
    throw writeFailure(path, cause);
  });
  const done = written
    .then(() => handle.sync())
    .catch((cause: unknown) => {
      throw Fp8Error.isInstance(cause) ? cause : writeFailure(path, cause as NodeJS.ErrnoException);
    })
    .finally(() => handle.close());
  return { written, done };
}

/** Whatever a former run, or someone else, left there is replaced, not followed if it is a link. */
async function create(path: string, partial: string): Promise<FileHandle> {
  await rm(partial, { force: true });
  return await open(partial, 'wx').catch((cause: NodeJS.ErrnoException) => {
    throw writeFailure(path, cause);
  });
}

function writeFailure(path: string, cause: NodeJS.ErrnoException): Fp8Error {
  return new Fp8Error({
    code: 'fp8/write-failed',
    message: `writing ${basename(path)} failed: ${cause.message}`,
    value: path,
    remedy: 'check free space and permissions, then call again: complete shards are kept',
    cause,
  });
}
