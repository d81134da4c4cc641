import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import {
  auditTexts,
  type CalibrationError,
  calibrationError,
  countWords,
  createEmbeddedDetector,
  evaluateStrata,
  type RocCurve,
  rocCurve,
  type StrataReport,
  type Stratum,
  type Verdict,
} from '@moestack/detect';
import { BenchmarkRecord } from '@moestack/schemas';
import { CliError } from '../../errors.js';
import { ProgressDisplay } from '../../progress-display.js';
import type { Reporter } from '../../reporter.js';
import { textTable } from '../../text-table.js';
import { packageVersion } from '../../version.js';
import { checkOutput, writeOutput } from '../fp8/output-file.js';
import { evaluationPage } from './html-pages.js';
import { type LabelledRecord, readRecords } from './read-records.js';

/** Options of {@link evaluateDetector}. */
export interface EvaluateDetectorOptions {
  readonly matchLength?: boolean;
  readonly maxWords?: number;
  readonly lengthBins?: readonly number[];
  readonly fpr: number;
  readonly license?: string;
  readonly split?: string;
  readonly out?: string;
  readonly html?: string;
}

/** A text with what the detector said. */
export interface EvaluatedText extends LabelledRecord {
  readonly score: number;
  readonly length: number;
  readonly verdict?: Verdict;
}

/** What an evaluation shows. */
export interface DetectorEvaluation {
  readonly name: string;
  readonly model: string;
  readonly texts: readonly EvaluatedText[];
  readonly strata: StrataReport;
  readonly roc: RocCurve;
  /** Where scores have probabilities. */
  readonly calibration: CalibrationError | undefined;
  readonly fpr: number;
  readonly wordLengthAuc: number | undefined;
  /** Verdicts by label of the text. */
  readonly labels: { readonly human: Record<string, number>; readonly ai: Record<string, number> };
  readonly warnings: readonly string[];
}

/** Evaluates the embedded detector, or given scores, on labelled texts. */
export async function evaluateDetector(
  data: string,
  options: EvaluateDetectorOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  await checkOutput(options.out);
  await checkOutput(options.html);
  const all = await readRecords(data);
  const chosen = options.split === undefined ? all : all.filter(({ split }) => split === options.split);
  if (!chosen.some(({ isAi }) => isAi) || chosen.every(({ isAi }) => isAi))
    throw new CliError({
      code: 'cli/bad-data',
      message: `expected human and AI texts in ${data}, got ${chosen.length} of one kind or none`,
      value: data,
      remedy: 'give texts of both kinds, or another --split',
    });
  const records = cutTexts(chosen, options);
  const evaluation = await evaluateRecords(basename(data), records, options, reporter, signal);
  const { strata, calibration } = evaluation;
  if (options.out !== undefined) {
    const record = toRecord(data, await readFile(data), evaluation, options);
    await writeOutput(options.out, `${JSON.stringify(BenchmarkRecord.parse(record), undefined, 2)}\n`);
  }
  if (options.html !== undefined) await writeOutput(options.html, evaluationPage(evaluation));
  const rows = [strata.all, ...strata.byLength, ...strata.byDomain, ...strata.byGenerator].map(row);
  reporter.result(
    {
      event: 'evaluation',
      ...{ model: evaluation.model, strata, labels: evaluation.labels, warnings: evaluation.warnings },
      ...(calibration !== undefined && {
        ece: calibration.ece,
        brier: calibration.brier,
        bins: calibration.bins,
      }),
    },
    [
      `${evaluation.name}, ${evaluation.model}`,
      '',
      ...textTable(['<texts', 'human', 'AI', 'AUROC', '<95% interval', `TPR at ${options.fpr}`], rows),
      '',
      ...(calibration === undefined
        ? []
        : [`calibration error ${calibration.ece.toFixed(3)}, Brier score ${calibration.brier.toFixed(3)}`]),
      ...(['human', 'ai'] as const).flatMap((side) => {
        const counts = Object.entries(evaluation.labels[side]).map(([label, count]) => `${count} ${label}`);
        return counts.length === 0 ? [] : [`${side} texts called: ${counts.join(', ')}`];
      }),
      ...evaluation.warnings.map((warning) => `warning: ${warning}`),
    ],
  );
  for (const path of [options.out, options.html])
    if (path !== undefined) reporter.note({ event: 'written', file: path }, `written: ${path}`);
}

async function evaluateRecords(
  name: string,
  records: readonly LabelledRecord[],
  options: EvaluateDetectorOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<DetectorEvaluation> {
  const detector = createEmbeddedDetector();
  const given = records.every(({ score }) => score !== undefined);
  const texts: EvaluatedText[] = [];
  const progress = new ProgressDisplay(reporter, { label: 'scoring', total: (count) => `${count} texts` });
  try {
    for (const [i, record] of records.entries()) {
      signal.throwIfAborted();
      const length = countWords(record.text);
      if (given) texts.push({ ...record, score: record.score ?? 0, length });
      else {
        const verdict = detector.detect(record.text);
        texts.push({ ...record, score: verdict.score, length, verdict });
      }
      progress.update(i + 1, records.length);
      if (i % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    progress.stop();
  }
  const scores = (isAi: boolean): number[] =>
    texts.filter((text) => text.isAi === isAi).map(({ score }) => score);
  const labels: DetectorEvaluation['labels'] = { human: {}, ai: {} };
  for (const { isAi, verdict } of texts) {
    if (verdict === undefined) continue;
    const side = labels[isAi ? 'ai' : 'human'];
    side[verdict.label] = (side[verdict.label] ?? 0) + 1;
  }
  const judged = texts.flatMap(({ verdict, isAi }) => (verdict === undefined ? [] : [{ verdict, isAi }]));
  return {
    name,
    model: given ? 'given scores' : detector.id,
    texts,
    fpr: options.fpr,
    strata: evaluateStrata(texts, {
      fpr: options.fpr,
      ...(options.lengthBins !== undefined && { lengthBins: options.lengthBins }),
    }),
    roc: rocCurve(scores(false), scores(true)),
    calibration:
      judged.length === 0
        ? undefined
        : calibrationError(
            judged.map(({ verdict }) => verdict.probability),
            judged.map(({ isAi }) => (isAi ? 1 : 0)),
          ),
    wordLengthAuc: evaluateStrata(
      texts.map(({ text, isAi }) => ({ isAi, score: meanWordLength(text) })),
      { fpr: options.fpr },
    ).all.auc?.auc,
    labels,
    warnings: auditTexts(records)
      .findings.filter(({ severity }) => severity === 'error')
      .map(({ kind, message }) => `${kind}: ${message}`),
  };
}

function meanWordLength(text: string): number {
  const words = text.slice(0, 1_000_000).match(/[\p{L}']+/gu) ?? [];
  return words.reduce((sum, word) => sum + word.length, 0) / Math.max(1, words.length);
}

/** Cuts texts to a number of words, those of a pair to the shorter one's. */
function cutTexts(
  records: readonly LabelledRecord[],
  { matchLength, maxWords = Infinity }: EvaluateDetectorOptions,
): LabelledRecord[] {
  const shortest = new Map<string, number>();
  if (matchLength === true)
    for (const { pair, text } of records)
      if (pair !== undefined) shortest.set(pair, Math.min(shortest.get(pair) ?? Infinity, countWords(text)));
  return records.map((record) => {
    const limit = Math.min(
      maxWords,
      (record.pair === undefined ? undefined : shortest.get(record.pair)) ?? Infinity,
    );
    return limit === Infinity ? record : { ...record, text: firstWords(record.text, limit) };
  });
}

function firstWords(text: string, words: number): string {
  const pattern = /\S+/g;
  let end = 0;
  for (let count = 0; count < words && pattern.exec(text) !== null; count++) end = pattern.lastIndex;
  return text.slice(0, end);
}

function row({ name, humans, ais, auc, tpr }: Stratum): string[] {
  const interval = auc?.logitInterval;
  return [
    name,
    String(humans),
    String(ais),
    auc === undefined ? '' : auc.auc.toFixed(3),
    interval === undefined ? '' : `${interval.low.toFixed(3)} .. ${interval.high.toFixed(3)}`,
    tpr === undefined ? '' : tpr.value.toFixed(3),
  ];
}

function toRecord(
  path: string,
  bytes: Uint8Array,
  { strata, calibration, model, texts, name }: DetectorEvaluation,
  options: EvaluateDetectorOptions,
): BenchmarkRecord {
  const slices: [Stratum, BenchmarkRecord['figures'][number]['slice']][] = [
    [strata.all, undefined],
    ...strata.byLength.map((stratum): [Stratum, BenchmarkRecord['figures'][number]['slice']] => {
      const [minimum, maximum] = stratum.name.split(/[-+]/).map(Number);
      return [stratum, { lengthTokens: { minimum: minimum ?? 0, maximum: maximum || 2 ** 31 - 1 } }];
    }),
    ...strata.byDomain.map((stratum): [Stratum, { domain: string }] => [stratum, { domain: stratum.name }]),
    ...strata.byGenerator.map((stratum): [Stratum, { generator: string }] => [
      stratum,
      { generator: stratum.name },
    ]),
  ];
  const figures = slices.flatMap(([{ humans, ais, auc, tpr }, slice]): BenchmarkRecord['figures'] => {
    const common = { of: 'subject' as const, samples: humans + ais, ...(slice !== undefined && { slice }) };
    const interval = auc?.logitInterval;
    return [
      ...(auc === undefined
        ? []
        : [
            {
              ...{ metric: 'roc-auc', value: auc.auc, ...common },
              ...(interval !== undefined && {
                interval: {
                  low: interval.low,
                  high: interval.high,
                  level: 0.95,
                  method: 'delong, logit scale',
                },
              }),
            },
          ]),
      ...(tpr === undefined
        ? []
        : [
            {
              ...{ metric: `tpr-at-fpr-${options.fpr}`, value: tpr.value, ...common },
              interval: { low: tpr.interval.low, high: tpr.interval.high, level: 0.95, method: 'wilson' },
            },
          ]),
    ];
  });
  if (calibration !== undefined)
    figures.push({
      metric: 'expected-calibration-error',
      of: 'subject',
      value: calibration.ece,
      samples: texts.length,
    });
  const words = [
    'moestack',
    'detect',
    'evaluate',
    path,
    ...(options.matchLength === true ? ['--match-length'] : []),
  ];
  if (options.maxWords !== undefined) words.push('--max-words', String(options.maxWords));
  if (options.split !== undefined) words.push('--split', options.split);
  return {
    ...{ schemaVersion: 1, name: 'text-detection' },
    dataset: {
      ...{
        name,
        sha256: createHash('sha256').update(bytes).digest('hex'),
        bytes: bytes.length,
        documents: texts.length,
      },
      ...(options.license !== undefined && { license: options.license }),
    },
    ...(options.split !== undefined && { slice: { split: options.split } }),
    subject: { name: model, kind: 'detector' },
    settings: {
      ...{
        fpr: options.fpr,
        matchLength: options.matchLength === true,
        maximumWords: options.maxWords ?? null,
      },
      lengthUnit: 'words',
    },
    figures,
    createdWith: {
      ...{ command: words.join(' '), package: 'moestack', version: packageVersion(), node: process.version },
    },
  };
}
