import { readFile } from 'node:fs/promises';
import { CliError } from '../../errors.js';

/** The part of a zod schema that is needed. */
interface Schema<T> {
  safeParse(
    value: unknown,
  ):
    | { success: true; data: T }
    | { success: false; error: { issues: readonly { path: readonly PropertyKey[]; message: string }[] } };
}

/**
 * Reads a JSON file by a schema.
 *
 * @throws {@link CliError} `cli/bad-config` with the place of the first problem.
 */
export async function readJson<T>(path: string, schema: Schema<T>): Promise<T> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw badConfig(path, cause instanceof Error ? cause.message : String(cause), cause);
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw badConfig(path, `${issue?.path.map(String).join('.') || 'the whole'}: ${issue?.message}`);
}

function badConfig(path: string, reason: string, cause?: unknown): CliError {
  return new CliError({
    code: 'cli/bad-config',
    message: `cannot use ${path}: ${reason}`,
    value: path,
    remedy: 'see the configurations that @moestack/training ships, and its README',
    cause,
  });
}
