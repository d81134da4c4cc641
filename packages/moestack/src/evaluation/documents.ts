import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import type { BenchmarkDataset } from '@moestack/schemas';
import { CliError } from '../errors.js';

/** Largest text file read: texts and their tokens are held in memory. */
const MAX_BYTES = 2 ** 28;

/** A data set of texts, each evaluated by itself. */
export interface TextDataset {
  readonly dataset: BenchmarkDataset;
  readonly documents: readonly string[];
}

/**
 * Reads a data set: a UTF-8 text file as one document, or `.jsonl` with one object a line whose `text` is a document.
 *
 * @throws {@link CliError} for files that cannot be read or hold no text.
 */
export async function readDocuments(
  path: string,
  about: { readonly name?: string; readonly license?: string; readonly source?: string } = {},
): Promise<TextDataset> {
  const bytes = await readBounded(path);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw badData(path, 'is not UTF-8', cause);
  }
  const documents = path.endsWith('.jsonl') ? parseLines(path, text) : text === '' ? [] : [text];
  if (documents.length === 0) throw badData(path, 'holds no text');
  const { name = basename(path), license, source } = about;
  return {
    documents,
    dataset: {
      name,
      sha256: createHash('sha256').update(bytes).digest('hex'),
      bytes: bytes.length,
      documents: documents.length,
      ...(license !== undefined && { license }),
      ...(source !== undefined && { source }),
    },
  };
}

async function readBounded(path: string): Promise<Buffer> {
  const handle = await open(path, 'r').catch((cause: NodeJS.ErrnoException) => {
    throw badData(
      path,
      cause.code === 'ENOENT' ? 'does not exist' : `cannot be read: ${cause.message}`,
      cause,
    );
  });
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw badData(path, 'is no regular file');
    if (stat.size > MAX_BYTES) throw badData(path, `has ${stat.size} bytes, more than ${MAX_BYTES}`);
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

function parseLines(path: string, text: string): string[] {
  const documents: string[] = [];
  text.split('\n').forEach((line, index) => {
    if (line.trim() === '') return;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw badData(path, `line ${index + 1} is no JSON`, cause);
    }
    const document = (value as { text?: unknown } | null)?.text;
    if (typeof document !== 'string') throw badData(path, `line ${index + 1} has no "text"`);
    if (document !== '') documents.push(document);
  });
  return documents;
}

function badData(path: string, problem: string, cause?: unknown): CliError {
  return new CliError({
    code: 'cli/bad-data',
    message: `${path} ${problem}`,
    value: path,
    remedy: 'pass a UTF-8 text file, or .jsonl with an object with "text" on each line',
    cause,
  });
}
