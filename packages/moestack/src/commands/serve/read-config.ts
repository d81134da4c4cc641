import { readFile, stat } from 'node:fs/promises';
import type { ServeConfig as Config } from '@moestack/serving';
import { parse, YAMLParseError } from 'yaml';
import { CliError } from '../../errors.js';

const mostBytes = 4 * 2 ** 20;
const mostIssues = 8;

/** What is wrong with a value, as the schema finds it. */
interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/**
 * Reads a configuration, YAML or JSON.
 *
 * @throws CliError naming each place that is wrong.
 */
export async function readConfig(file: string): Promise<Config> {
  const text = await readText(file);
  let value: unknown;
  try {
    // Aliases could make a small file a huge value.
    value = parse(text, { maxAliasCount: 100, prettyErrors: true });
  } catch (cause) {
    const detail = cause instanceof YAMLParseError ? cause.message : String(cause);
    throw new CliError({
      code: 'cli/bad-config',
      message: `${file} is neither YAML nor JSON: ${detail}`,
      value: file,
      remedy: 'correct the line, mind the indentation',
      cause,
    });
  }
  const { ServeConfig } = await import('@moestack/serving');
  const result = ServeConfig.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.flatMap((issue) => flatten(issue));
  throw new CliError({
    code: 'cli/bad-config',
    message: [
      `${file} is no configuration of moestack serve`,
      ...issues.slice(0, mostIssues).map((issue) => describe(issue, value)),
      ...(issues.length > mostIssues ? [`and ${issues.length - mostIssues} more`] : []),
    ].join('\n  '),
    value: file,
    remedy: 'correct these fields; the README of moestack has an example with all of them',
  });
}

async function readText(file: string): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size > mostBytes) throw new Error(`it has ${size} bytes, at most ${mostBytes} are read`);
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new CliError({
      code: 'cli/cannot-read',
      message: `cannot read ${file}: ${cause instanceof Error ? cause.message : String(cause)}`,
      value: file,
      remedy: 'pass the path of a YAML or JSON file',
      cause,
    });
  }
}

/** The issues of the alternative that a union comes closest to, which say more than that none fits. */
function flatten(
  issue: Issue & { readonly code?: string; readonly errors?: readonly (readonly Issue[])[] },
): Issue[] {
  if (issue.code !== 'invalid_union' || issue.errors === undefined || issue.errors.length === 0)
    return [issue];
  const closest = [...issue.errors].sort((a, b) => depth(b) - depth(a) || a.length - b.length)[0]!;
  return closest.flatMap((one) => flatten({ ...one, path: [...issue.path, ...one.path] }));
}

function depth(issues: readonly Issue[]): number {
  return Math.max(0, ...issues.map(({ path }) => path.length));
}

function describe({ path, message }: Issue, root: unknown): string {
  let value = root;
  for (const key of path) {
    value =
      typeof value === 'object' && value !== null ? (value as Record<PropertyKey, unknown>)[key] : undefined;
  }
  const name = path.map(String).join('.');
  // Values of secrets do not belong into messages.
  const isSecret = /key|sha256|password|token$/i.test(String(path.at(-1) ?? ''));
  const seen =
    value === undefined || typeof value === 'object' || isSecret ? '' : `, got ${JSON.stringify(value)}`;
  return `${name === '' ? 'the file' : name}: ${message}${seen.length > 120 ? '' : seen}`;
}
