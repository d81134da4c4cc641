import { appendFile, readFile } from 'node:fs/promises';
import type { AuditRecord } from '../audit/audit-record.js';
import { countWords } from '../embedded-model/text-windows.js';
import { DetectError } from '../errors.js';
import { Deadline } from '../language-model/deadline.js';
import { badResponse, DetectHttpError, HttpClient, type HttpOptions } from '../language-model/http-client.js';
import type { ScoreOptions } from '../language-model/language-model.js';
import { needBetween, needInteger } from '../scores/checks.js';
import type { RepositoryFunction } from './repository-functions.js';

/** Options of {@link writeCodePairs}. */
export interface CodePairOptions extends HttpOptions, ScoreOptions {
  /** Model of an OpenAI-compatible chat endpoint, below `baseUrl` at `/v1/chat/completions`. */
  readonly model: string;
  /** Pairs of each length bin (16 to 31 words, 32 to 63 ...); default 100. */
  readonly perBin?: number;
  /** AI versions whose length differs by a larger share are left out; default 0.5. */
  readonly lengthTolerance?: number;
  /** Seconds for one answer; default 120. */
  readonly answerTimeoutSeconds?: number;
  /** Further tries of a request that may succeed later; default 2. */
  readonly retries?: number;
  /** Called after each pair. */
  readonly onProgress?: (progress: CodePairProgress) => void;
}

/** How far {@link writeCodePairs} is; also its result. */
export interface CodePairProgress {
  /** Pairs in the file, those of earlier runs included. */
  readonly pairs: number;
  /** Left out because the AI version was too short or too long. */
  readonly mismatched: number;
  /** Functions that were looked at in this run. */
  readonly seen: number;
}

/** A line of the file: an {@link AuditRecord} and where it comes from. */
export interface CodePairRecord extends AuditRecord {
  readonly id: string;
  readonly pair: string;
  readonly generator: string;
  readonly domain: 'code';
  readonly language: string;
  readonly words: number;
  /** Least number of words of its length bin. */
  readonly lengthBin: number;
  /** What the AI version was written from. */
  readonly summary: string;
}

const SUMMARY =
  'Describe in two to four sentences what this function does: its name, parameters, behaviour and result. Quote no code.';
const WRITE = (language: string, lines: number): string =>
  `Write one ${language} function that does what the description says, in about ${lines} lines. Answer with the code alone.`;
const MAXIMUM_FILE_BYTES = 2 ** 30;

/**
 * Asks a model for its own version of human functions, and appends pairs to a JSON Lines file: function -> summary -> AI version. A
 * run that ended early goes on where it was; each pair is written whole.
 */
export async function writeCodePairs(
  functions: AsyncIterable<RepositoryFunction> | Iterable<RepositoryFunction>,
  path: string,
  options: CodePairOptions,
): Promise<CodePairProgress> {
  const { perBin = 100, lengthTolerance = 0.5, answerTimeoutSeconds = 120, retries = 2 } = options;
  needInteger('perBin', perBin, 1);
  needInteger('retries', retries, 0, 100);
  needBetween('lengthTolerance', lengthTolerance, 0, 100);
  const client = new HttpClient(options);
  const overall = new Deadline('code pairs', { timeoutSeconds: 1_000_000, ...options });
  const known = await readPairs(path);
  const bins = new Map<number, number>();
  for (const { lengthBin } of known.values()) bins.set(lengthBin, (bins.get(lengthBin) ?? 0) + 1);
  let progress: CodePairProgress = { pairs: known.size, mismatched: 0, seen: 0 };

  const ask = async (messages: readonly { role: string; content: string }[]): Promise<string> => {
    for (let attempt = 0; ; attempt++) {
      const deadline = new Deadline('an answer', {
        timeoutSeconds: answerTimeoutSeconds,
        signal: overall.signal,
      });
      try {
        return contentOf(
          await client.post('/v1/chat/completions', { model: options.model, messages }, deadline),
        );
      } catch (error) {
        overall.check();
        const again = DetectHttpError.isInstance(error) && (error as DetectHttpError).isRetryable === true;
        if (!again || attempt >= retries) throw error;
        await pause(250 * 2 ** attempt, overall);
      }
    }
  };

  for await (const { id, code, language, words, name } of functions) {
    overall.check();
    const lengthBin = 2 ** Math.floor(Math.log2(Math.max(1, words)));
    if (known.has(id) || (bins.get(lengthBin) ?? 0) >= perBin) continue;
    const lines = code.split('\n').length;
    const summary = await ask([
      { role: 'system', content: SUMMARY },
      { role: 'user', content: code },
    ]);
    const answer = await ask([
      { role: 'system', content: WRITE(language, lines) },
      { role: 'user', content: `Name: ${name}\n\n${summary}` },
    ]);
    const version = withoutFence(answer);
    const versionWords = countWords(version);
    if (Math.abs(versionWords - words) > lengthTolerance * words) {
      progress = { ...progress, mismatched: progress.mismatched + 1, seen: progress.seen + 1 };
      options.onProgress?.(progress);
      continue;
    }
    const common = { pair: id, domain: 'code' as const, language, lengthBin, summary };
    const records: CodePairRecord[] = [
      { id: `${id}:human`, text: code, isAi: false, generator: 'human', words, ...common },
      { id: `${id}:ai`, text: version, isAi: true, generator: options.model, words: versionWords, ...common },
    ];
    await appendFile(path, records.map((record) => `${JSON.stringify(record)}\n`).join(''));
    bins.set(lengthBin, (bins.get(lengthBin) ?? 0) + 1);
    progress = { ...progress, pairs: progress.pairs + 1, seen: progress.seen + 1 };
    options.onProgress?.(progress);
  }
  return progress;
}

/** Pairs of an earlier run by id; a line that was cut off ends the file. */
async function readPairs(path: string): Promise<Map<string, { lengthBin: number }>> {
  const sides = new Map<string, number>();
  const pairs = new Map<string, { lengthBin: number }>();
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw badFile(path, error.message);
  });
  if (text.length > MAXIMUM_FILE_BYTES) throw badFile(path, `more than ${MAXIMUM_FILE_BYTES} characters`);
  text.split('\n').forEach((line, i) => {
    if (line === '') return;
    let record: Partial<CodePairRecord>;
    try {
      record = JSON.parse(line) as Partial<CodePairRecord>;
    } catch {
      throw badFile(path, `line ${i + 1} is no JSON; a run that was killed may have left it`);
    }
    const { pair, lengthBin } = record ?? {};
    if (typeof pair !== 'string' || typeof lengthBin !== 'number')
      throw badFile(path, `line ${i + 1} is no pair`);
    sides.set(pair, (sides.get(pair) ?? 0) + 1);
    if (sides.get(pair) === 2) pairs.set(pair, { lengthBin });
  });
  return pairs;
}

function contentOf(answer: unknown): string {
  const content = (answer as { choices?: { message?: { content?: unknown } }[] } | null)?.choices?.[0]
    ?.message?.content;
  if (typeof content === 'string' && content.trim() !== '') return content.trim();
  throw badResponse('the chat endpoint', 'choices[0].message.content', JSON.stringify(answer ?? null));
}

/** The code of an answer that puts it into a Markdown fence against its instructions. */
function withoutFence(answer: string): string {
  const match = /```[\w+-]*\n([\s\S]*?)\n?```/.exec(answer);
  return match?.[1] ?? answer;
}

function pause(milliseconds: number, deadline: Deadline): Promise<void> {
  return deadline.wait(new Promise((resolve) => setTimeout(resolve, milliseconds)));
}

function badFile(path: string, problem: string): DetectError {
  return new DetectError({
    code: 'detect/bad-config',
    message: `expected pairs as JSON lines in ${path}: ${problem}`,
    value: path,
    remedy: 'name a new file, or remove the last, incomplete line',
  });
}
