import type { Precision } from '@moestack/model';
import type { BenchmarkFigure, BenchmarkRecord } from '@moestack/schemas';
import { evaluateModels } from '../../evaluation/evaluate-models.js';
import { ProgressDisplay } from '../../progress-display.js';
import type { Reporter } from '../../reporter.js';
import { textTable } from '../../text-table.js';
import { checkOutput, writeOutput } from './output-file.js';

/** Options of `moestack fp8 eval`. */
export interface EvaluateCommandOptions {
  readonly data: string;
  readonly baseline?: string;
  readonly context?: number;
  readonly stride?: number;
  readonly maxTokens?: number;
  readonly precision?: Precision;
  readonly baselinePrecision?: Precision;
  readonly license?: string;
  readonly split?: string;
  readonly out?: string;
}

/** Evaluates a model on texts, against the one it was converted from. */
export async function evaluate(
  model: string,
  options: EvaluateCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const { data, baseline, context, stride, maxTokens, precision, baselinePrecision, license, split, out } =
    options;
  await checkOutput(out);
  const loading = new ProgressDisplay(reporter, { label: 'loading', total: () => 'the weights', lines: 4 });
  const scoring = new ProgressDisplay(reporter, { label: 'scoring', total: (tokens) => `${tokens} tokens` });
  const record = await evaluateModels({
    subject: { path: model, ...(precision !== undefined && { precision }) },
    ...(baseline !== undefined && {
      baseline: { path: baseline, ...(baselinePrecision !== undefined && { precision: baselinePrecision }) },
    }),
    data: {
      path: data,
      ...(license !== undefined && { license }),
      ...(split !== undefined && { split }),
    },
    ...(context !== undefined && { contextTokens: context }),
    ...(stride !== undefined && { strideTokens: stride }),
    ...(maxTokens !== undefined && { maxTokens }),
    command: commandLine(model, options),
    signal,
    onProgress: ({ phase, done, total }) => {
      if (phase === 'scoring') loading.stop();
      (phase === 'loading' ? loading : scoring).update(done, total);
    },
  }).finally(() => {
    loading.stop();
    scoring.stop();
  });
  if (out !== undefined) await writeOutput(out, `${JSON.stringify(record, null, 2)}\n`);
  reporter.result({ event: 'evaluated', record }, lines(record));
  if (out !== undefined) reporter.note({ event: 'written', file: out }, `written: ${out}`);
}

/** The options that change the result, so that the record can be had again. */
function commandLine(model: string, options: EvaluateCommandOptions): string {
  const words = ['moestack', 'fp8', 'eval', model];
  const flags: [string, string | number | undefined][] = [
    ['--baseline', options.baseline],
    ['--data', options.data],
    ['--context', options.context],
    ['--stride', options.stride],
    ['--max-tokens', options.maxTokens],
    ['--precision', options.precision],
    ['--baseline-precision', options.baselinePrecision],
    ['--license', options.license],
    ['--split', options.split],
  ];
  for (const [flag, value] of flags) if (value !== undefined) words.push(flag, String(value));
  return words
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(' ');
}

function lines({ dataset, subject, baseline, figures }: BenchmarkRecord): string[] {
  const value = (metric: string, of: BenchmarkFigure['of']): string => {
    const figure = figures.find((entry) => entry.metric === metric && entry.of === of);
    return figure === undefined ? '' : figure.value.toPrecision(5);
  };
  const models = baseline === undefined ? (['subject'] as const) : (['subject', 'baseline'] as const);
  const rows = models.map((of) => [
    (of === 'subject' ? subject : baseline!).name,
    (of === 'subject' ? subject : baseline!).recipe ?? '',
    value('perplexity', of),
    value('bits-per-byte', of),
  ]);
  const text = [
    `${dataset.name}: ${dataset.tokens} tokens in ${dataset.documents} ${dataset.documents === 1 ? 'text' : 'texts'}, ${figures[0]!.samples} scored`,
    '',
    ...textTable(['<model', '<computes in', 'perplexity', 'bits/byte'], rows),
  ];
  if (baseline === undefined) return text;
  const comparisons = figures.filter(({ of }) => of === 'comparison');
  text.push(
    '',
    ...textTable(
      ['<against the baseline', 'value', '<unit', '<95% interval'],
      comparisons.map(({ metric, value: figure, unit = '', interval }) => [
        metric,
        figure.toPrecision(4),
        unit,
        interval === undefined ? '' : `${interval.low.toPrecision(3)} .. ${interval.high.toPrecision(3)}`,
      ]),
    ),
  );
  return text;
}
