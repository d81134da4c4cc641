import { SimulatorError } from '../errors.js';

/** Parses with a schema, or names the field that is wrong. */
export function read<T>(
  schema: { safeParse(value: unknown): { success: true; data: T } | { success: false; error: ReadError } },
  value: unknown,
  name: string,
): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = [name, ...(issue?.path ?? []).map(String)].join('.');
  throw badConfig(`expected a valid ${path}: ${issue?.message}`, path, path);
}

interface ReadError {
  readonly issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[];
}

/** An error of a configuration that names the field. */
export function badConfig(message: string, value: unknown, name: string): SimulatorError {
  return new SimulatorError({ code: 'simulator/bad-config', message, value, remedy: `correct ${name}` });
}
