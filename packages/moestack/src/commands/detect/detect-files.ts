import { isAbsolute, relative } from 'node:path';
import {
  countWords,
  createEmbeddedDetector,
  type DetectTextOptions,
  detectSpans,
  languageOf,
  plattProbability,
  splitFunctions,
  type TextSpan,
  type Verdict,
} from '@moestack/detect';
import { CliError } from '../../errors.js';
import { ProgressDisplay } from '../../progress-display.js';
import type { Reporter } from '../../reporter.js';
import type { TextInput } from '../fp8/number-input.js';
import { checkOutput, writeOutput } from '../fp8/output-file.js';
import { type Calibration, readCalibration } from './calibrate.js';
import { highlight, percent } from './highlight.js';
import { textPage } from './html-pages.js';
import { readBounded } from './read-records.js';
import { sarifLog } from './sarif.js';

/** Options of {@link detectFiles}. */
export interface DetectCommandOptions {
  readonly alpha: '0.01' | '0.05' | '0.1';
  readonly minWords?: number;
  readonly spans?: boolean;
  readonly calibration?: string;
  readonly html?: string;
  readonly sarif?: string;
  readonly failOnAi?: boolean;
}

/** A text, or a function of a source file, with its verdict. */
export interface Judged {
  readonly file: string;
  /** Name of the function, in a source file. */
  readonly name?: string;
  readonly startLine: number;
  readonly endLine: number;
  readonly text: string;
  readonly verdict: Verdict;
  readonly spans?: readonly TextSpan[];
}

const MAXIMUM_INPUT_CHARACTERS = 64 * 2 ** 20;

/** Judges files and tells of each. */
export async function detectFiles(
  files: readonly string[],
  options: DetectCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
  stdin: TextInput | undefined,
): Promise<void> {
  if (files.length === 0) throw noInput();
  await checkOutput(options.html);
  await checkOutput(options.sarif);
  const calibration =
    options.calibration === undefined ? undefined : await readCalibration(options.calibration);
  const detector = createEmbeddedDetector();
  const detectOptions: DetectTextOptions = {
    alpha: Number(options.alpha) as 0.01 | 0.05 | 0.1,
    ...(options.minWords !== undefined && { minimumWords: options.minWords }),
  };
  const judged: Judged[] = [];
  const progress = new ProgressDisplay(reporter, { label: 'detecting', total: (count) => `${count} files` });
  try {
    for (const [i, file] of files.entries()) {
      signal.throwIfAborted();
      const text = file === '-' ? await readAll(stdin) : await readBounded(file);
      for (const piece of piecesOf(file, text)) {
        const verdict = recalibrate(detector.detect(piece.text, detectOptions), calibration);
        const spans =
          options.spans === true && piece.name === undefined
            ? detectSpans(piece.text, { detector }).spans
            : undefined;
        const entry: Judged = { ...piece, verdict, ...(spans !== undefined && { spans }) };
        judged.push(entry);
        tell(entry, reporter);
        await new Promise((resolve) => setImmediate(resolve));
      }
      if (files.length > 20) progress.update(i + 1, files.length);
    }
  } finally {
    progress.stop();
  }
  if (options.sarif !== undefined)
    await writeOutput(options.sarif, JSON.stringify(sarifLog(judged, toUri), undefined, 2));
  if (options.html !== undefined) await writeOutput(options.html, textPage(judged));
  for (const path of [options.sarif, options.html])
    if (path !== undefined) reporter.note({ event: 'written', file: path }, `written: ${path}`);
  const found = judged.filter(({ verdict }) => verdict.label === 'ai').length;
  if (options.failOnAi === true && found > 0)
    throw new CliError({
      code: 'cli/ai-text',
      message: `expected no text that is called AI, got ${found}`,
      value: found,
      remedy: 'look at them; a verdict is no proof',
    });
}

function* piecesOf(file: string, text: string): Generator<Omit<Judged, 'verdict'>> {
  const language = file === '-' ? undefined : languageOf(file);
  if (language === undefined) {
    yield { file, text, startLine: 1, endLine: text.split('\n').length };
    return;
  }
  const functions = splitFunctions(text, language);
  if (functions.length === 0) yield { file, text, startLine: 1, endLine: text.split('\n').length };
  for (const { name, start, end, startLine, endLine } of functions)
    yield { file, name, text: text.slice(start, end), startLine, endLine };
}

function recalibrate(verdict: Verdict, calibration: Calibration | undefined): Verdict {
  if (calibration === undefined) return verdict;
  if (calibration.model !== verdict.model)
    throw new CliError({
      code: 'cli/bad-options',
      message: `expected a calibration of ${verdict.model}, got one of ${calibration.model}`,
      value: calibration.model,
      remedy: 'calibrate again with this version',
    });
  const probability = plattProbability(calibration.platt, verdict.score);
  if (
    verdict.reasons.some(({ code }) => ['too-short', 'code', 'not-english', 'out-of-domain'].includes(code))
  )
    return verdict;
  const threshold = calibration.conformal[String(verdict.alpha) as '0.01'];
  const label =
    threshold !== null && verdict.score > threshold ? 'ai' : probability < 0.5 ? 'human' : 'abstain';
  return {
    ...{ ...verdict, label, probability },
    interval: [Math.min(verdict.interval[0], probability), Math.max(verdict.interval[1], probability)],
    reasons: [
      {
        code: label === 'abstain' ? 'inconclusive' : 'score',
        message: `by your own calibration on ${calibration.humans} human and ${calibration.ais} AI texts`,
      },
    ],
  };
}

function tell({ file, name, startLine, endLine, text, verdict, spans }: Judged, reporter: Reporter): void {
  const place = name === undefined ? file : `${file}:${startLine} ${name}`;
  const { label, probability, interval, reasons, words } = verdict;
  const lines = [
    `${place}: ${label}, probability of AI ${percent(probability)} (${percent(interval[0])} to ${percent(interval[1])}), ${words} words`,
    ...reasons.map(({ message }) => `  ${message}`),
  ];
  const { stdout } = reporter.streams;
  const isTerminal = 'isTTY' in stdout && stdout.isTTY === true;
  if (spans !== undefined)
    for (const { start, end, side, verdict: own } of spans)
      lines.push(
        `  ${side.padEnd(5)} ${own.label.padEnd(7)} ${percent(own.probability).padStart(5)} of ${countWords(text.slice(start, end))} words: ${clip(text.slice(start, end))}`,
      );
  if (isTerminal && name === undefined && words > 0) lines.push('', ...highlight(text, verdict, spans), '');
  reporter.result(
    {
      ...{ event: 'verdict', file, ...(name !== undefined && { name, startLine, endLine }), ...verdict },
      ...(spans !== undefined && { spans }),
    },
    lines,
  );
}

function clip(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > 60 ? `${line.slice(0, 57)}...` : line;
}

function toUri(file: string): string {
  const path = isAbsolute(file) ? relative(process.cwd(), file) : file;
  return path.split(/[\\/]/).map(encodeURIComponent).join('/');
}

async function readAll(stdin: TextInput | undefined): Promise<string> {
  if (stdin === undefined) throw noInput();
  const decoder = new TextDecoder();
  let text = '';
  for await (const chunk of stdin) {
    text += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    if (text.length > MAXIMUM_INPUT_CHARACTERS)
      throw new CliError({
        code: 'cli/bad-data',
        message: `expected at most ${MAXIMUM_INPUT_CHARACTERS} characters on standard input, got more`,
        value: MAXIMUM_INPUT_CHARACTERS,
        remedy: 'pass files',
      });
  }
  return text;
}

function noInput(): CliError {
  return new CliError({
    code: 'cli/no-input',
    message: 'expected files to judge, got none',
    remedy: 'name files, or - for standard input',
  });
}
