import { rename, rm, writeFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { CliError } from '../../errors.js';

/** Writes a whole file, or leaves what was there. */
export async function writeBytes(path: string, bytes: Uint8Array): Promise<void> {
  const partial = `${path}.partial`;
  try {
    await writeFile(partial, bytes);
    await rename(partial, path);
  } catch (cause) {
    await rm(partial, { force: true });
    throw new CliError({
      code: 'cli/bad-output',
      message: `cannot write ${path}: ${(cause as Error).message}`,
      value: path,
      remedy: 'name a file in a folder that exists and can be written to',
      cause,
    });
  }
}

/** Name of a file without its extension. */
export function stemOf(path: string): string {
  return basename(path, extname(path));
}
