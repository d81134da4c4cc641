import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ModelError, type ModelErrorCode } from './errors.js';

/** Text of a file in a model directory; undefined where there is none. */
export async function readOptionalText(path: string, name: string): Promise<string | undefined> {
  try {
    return await readFile(join(path, name), 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unreadable(join(path, name), cause);
  }
}

/** Parsed JSON of a file in a model directory; undefined where there is none. */
export async function readOptionalJson(path: string, name: string, code: ModelErrorCode): Promise<unknown> {
  const text = await readOptionalText(path, name);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new ModelError({
      code,
      message: `${join(path, name)} is not valid JSON`,
      value: join(path, name),
      remedy: 'download the file again',
      cause,
    });
  }
}

/** The error for a file that must be there. */
export function missingFile(file: string, remedy: string): ModelError {
  return new ModelError({ code: 'model/missing-file', message: `there is no ${file}`, value: file, remedy });
}

function unreadable(file: string, cause: unknown): ModelError {
  return new ModelError({
    code: 'model/missing-file',
    message: `cannot read ${file}`,
    value: file,
    remedy: 'check the path and its permissions',
    cause,
  });
}
