import { badFile, limits } from './limits.js';

/** A schema of a foreign file. */
interface Schema<T> {
  safeParse(data: unknown): { success: true; data: T } | { success: false; error: Error };
}

/** UTF-8 text of a file of bounded length. */
export function decodeText(bytes: Uint8Array, what: string, most: number = limits.textBytes): string {
  if (bytes.length > most) {
    throw badFile(
      `expected ${what} of at most ${most} bytes, got ${bytes.length}`,
      bytes.length,
      'shorten it',
    );
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw badFile(`expected ${what}, got bytes that are no UTF-8 text`, undefined, 'pass a text file', cause);
  }
}

/** JSON of a file. */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  const text = decodeText(bytes, what);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw badFile(
      `expected JSON of ${what}: ${(cause as Error).message.slice(0, 200)}`,
      undefined,
      'pass whole JSON',
      cause,
    );
  }
}

/** Data that a schema accepts. */
export function parseSchema<T>(schema: Schema<T>, data: unknown, what: string): T {
  const result = schema.safeParse(data);
  if (result.success) return result.data;
  throw badFile(
    `expected ${what}: ${result.error.message.replace(/\s+/g, ' ').slice(0, 300)}`,
    undefined,
    'pass the file as the engine wrote it',
    result.error,
  );
}
