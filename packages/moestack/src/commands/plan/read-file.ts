import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { CliError } from '../../errors.js';

/** Longest text file that is read whole. */
const mostBytes = 256 * 2 ** 20;

/** A text file of bounded size. */
export async function readText(path: string, what: string): Promise<string> {
  const handle = await open(path).catch((cause: Error) => {
    throw badInput(`cannot read ${what} ${path}: ${cause.message}`, path, 'name a file that exists', cause);
  });
  try {
    const info = await handle.stat();
    if (!info.isFile()) throw badInput(`expected a file for ${what}, got ${path}`, path, 'name a file');
    if (info.size > mostBytes)
      throw badInput(
        `expected at most ${mostBytes} bytes in ${path}, got ${info.size}`,
        path,
        'pass a part of it',
      );
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}

/** A JSON file. */
export async function readJson(path: string, what: string): Promise<unknown> {
  const text = await readText(path, what);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw badInput(
      `expected JSON in ${path}: ${(cause as Error).message}`,
      path,
      `pass ${what} as JSON`,
      cause,
    );
  }
}

/** A JSON file that a schema describes. */
export async function readFileOf<T>(
  schema: z.ZodType<T>,
  path: string,
  { what, otherwise = '' }: { what: string; otherwise?: string },
): Promise<T> {
  const result = schema.safeParse(await readJson(path, `the ${what}`));
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  // An unknown field at the top has no path.
  const field = issue?.path.join('.') ?? '';
  throw badInput(
    `wrong ${what} in ${path}${field === '' ? '' : ` at ${field}`}: ${issue?.message}`,
    field,
    `correct ${field === '' ? path : field}${otherwise}`,
  );
}

/** `path`, or `config.json` in it if it is a folder. */
export async function configPath(path: string): Promise<string> {
  const info = await stat(path).catch(() => undefined);
  return info?.isDirectory() === true ? join(path, 'config.json') : path;
}

/** The error of an input that cannot be used. */
export function badInput(message: string, value: unknown, remedy: string, cause?: unknown): CliError {
  return new CliError({
    code: 'cli/bad-input',
    message,
    value,
    remedy,
    ...(cause === undefined ? {} : { cause }),
  });
}
