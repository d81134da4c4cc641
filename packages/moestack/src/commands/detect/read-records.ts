import { readFile, stat } from 'node:fs/promises';
import type { AuditRecord } from '@moestack/detect';
import { CliError } from '../../errors.js';

/** A line of labelled texts. */
export interface LabelledRecord extends AuditRecord {
  readonly id: string;
  readonly score?: number;
}

const MAXIMUM_BYTES = 512 * 2 ** 20;

/** Reads a file of bounded size. @throws {@link CliError} `cli/bad-file` */
export async function readBounded(path: string): Promise<string> {
  try {
    const info = await stat(path);
    if (!info.isFile()) throw new Error('it is no file');
    if (info.size > MAXIMUM_BYTES) throw new Error(`it has more than ${MAXIMUM_BYTES} bytes`);
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new CliError({
      code: 'cli/bad-file',
      message: `cannot read ${path}: ${(cause as Error).message}`,
      value: path,
      remedy: 'name a file that can be read',
      cause,
    });
  }
}

/** Reads labelled texts. @throws {@link CliError} `cli/bad-data` naming the line that is wrong */
export async function readRecords(path: string): Promise<LabelledRecord[]> {
  const records: LabelledRecord[] = [];
  (await readBounded(path)).split('\n').forEach((line, i) => {
    if (line.trim() === '') return;
    let row: unknown;
    try {
      row = JSON.parse(line);
    } catch {
      throw badData(path, `line ${i + 1} is no JSON`);
    }
    records.push(toRecord(row, path, i + 1));
  });
  if (records.length === 0) throw badData(path, 'there are no lines');
  return records;
}

function toRecord(row: unknown, path: string, line: number): LabelledRecord {
  if (typeof row !== 'object' || row === null || Array.isArray(row))
    throw badData(path, `line ${line} is no object`);
  const fields = row as Record<string, unknown>;
  const { text, score } = fields;
  if (typeof text !== 'string') throw badData(path, `line ${line} has no string "text"`);
  const isAi = labelOf(fields['label'] ?? fields['isAi']);
  if (isAi === undefined) throw badData(path, `line ${line} has no "label" of human or ai`);
  if (score !== undefined && (typeof score !== 'number' || !Number.isFinite(score)))
    throw badData(path, `line ${line} has a "score" that is no number`);
  const word = (name: string): string | undefined =>
    typeof fields[name] === 'string' || typeof fields[name] === 'number' ? String(fields[name]) : undefined;
  const [pair, split, domain, generator] = ['pair', 'split', 'domain', 'generator'].map(word);
  return {
    ...{ text, isAi, id: word('id') ?? String(line) },
    ...(typeof score === 'number' && { score }),
    ...(pair !== undefined && { pair }),
    ...(split !== undefined && { split }),
    ...(domain !== undefined && { domain }),
    ...(generator !== undefined && { generator }),
  };
}

function labelOf(label: unknown): boolean | undefined {
  if (label === true || label === 1 || label === 'ai' || label === 'AI' || label === 'machine') return true;
  if (label === false || label === 0 || label === 'human') return false;
  return undefined;
}

export function badData(path: string, problem: string, cause?: unknown): CliError {
  return new CliError({
    code: 'cli/bad-data',
    message: `cannot use ${path}: ${problem}`,
    value: path,
    remedy: 'give one JSON object a line with "text" and "label", human or ai',
    cause,
  });
}
