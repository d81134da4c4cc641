import { createHash } from 'node:crypto';
import { CliError } from '../../errors.js';

const hidden = '[redacted]';

/** SHA-256 of a key, hexadecimal. */
export function hashKey(key: string): string {
  return createHash('sha256').update(key).digest('hex');
}

/**
 * A secret from the environment.
 *
 * @throws CliError when the variable is empty or not set.
 */
export function secretOf(variable: string): string {
  const value = process.env[variable];
  if (value !== undefined && value !== '') return value;
  throw new CliError({
    code: 'cli/missing-key',
    message: `the environment variable ${variable} is not set`,
    value: variable,
    remedy: `export ${variable} before the start`,
  });
}

/** A copy without secrets: keys, digests that a key could be guessed from, and names and passwords in addresses. */
export function withoutSecrets(value: unknown, name = ''): unknown {
  if (typeof value === 'string') {
    if (name === 'apiKey' || /sha256$/i.test(name)) return hidden;
    return name === 'url' ? value.replace(/^(https?:\/\/)[^/@]*@/i, `$1${hidden}@`) : value;
  }
  if (Array.isArray(value)) return value.map((one) => withoutSecrets(one));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, withoutSecrets(one, key)]));
}
