import { access, constants, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CliError } from '../../errors.js';

/**
 * Checks before long work that its result can be written.
 *
 * @throws {@link CliError} `cli/bad-output` for a folder that is missing or cannot be written to.
 */
export async function checkOutput(path: string | undefined): Promise<void> {
  if (path === undefined) return;
  const folder = dirname(path);
  await access(folder, constants.W_OK).catch((cause: NodeJS.ErrnoException) => {
    throw badOutput(path, cause.code === 'ENOENT' ? `folder ${folder} does not exist` : cause.message, cause);
  });
  const info = await stat(path).catch(() => undefined);
  if (info?.isDirectory()) throw badOutput(path, 'it is a folder');
}

/** Makes a folder for output where there is none yet. */
export async function makeOutputFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true }).catch((cause: Error) => {
    throw badOutput(path, cause.message, cause);
  });
}

/**
 * Writes a whole file, or leaves what was there.
 *
 * @param text - in pieces where it may be longer than a string can be.
 */
export async function writeOutput(path: string, text: string | Iterable<string>): Promise<void> {
  const partial = `${path}.partial`;
  try {
    await writeFile(partial, text);
    await rename(partial, path);
  } catch (cause) {
    await rm(partial, { force: true });
    throw badOutput(path, (cause as Error).message, cause);
  }
}

function badOutput(path: string, problem: string, cause?: unknown): CliError {
  return new CliError({
    code: 'cli/bad-output',
    message: `cannot write ${path}: ${problem}`,
    value: path,
    remedy: 'name a file in a folder that exists and can be written to',
    cause,
  });
}
