import { type FormatName, inspectionHtml, inspectionTable } from '@moestack/fp8';
import { inspectCheckpoint } from '@moestack/fp8/node';
import type { CheckpointInspection } from '@moestack/schemas';
import { CliError } from '../../errors.js';
import { megabytes, ProgressDisplay } from '../../progress-display.js';
import type { Reporter } from '../../reporter.js';
import { checkOutput, writeOutput } from './output-file.js';

/** Options of `moestack fp8 inspect`. */
export interface InspectCommandOptions {
  readonly against?: string;
  readonly format?: FormatName;
  readonly tile?: [rows: number, cols: number];
  readonly scale?: 'f32' | 'powerOfTwo';
  readonly match?: string;
  readonly rows: number;
  readonly report?: string;
  readonly html?: string;
}

/** Reports the numerics of a checkpoint as a table, and as JSON and HTML files. */
export async function inspect(
  path: string,
  options: InspectCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const { against, format, tile, scale, match, rows, report, html } = options;
  await checkOutput(report);
  await checkOutput(html);
  const fields = ['doneBytes', 'totalBytes'] as const;
  const progress = new ProgressDisplay(reporter, { label: 'inspecting', total: megabytes, fields });
  const inspection = await inspectCheckpoint(path, {
    signal,
    onProgress: ({ doneBytes, totalBytes }) => progress.update(doneBytes, totalBytes),
    ...(against !== undefined && { original: against }),
    ...(format !== undefined && { format }),
    ...(tile !== undefined && { tile }),
    ...(scale !== undefined && { scale }),
    ...(match !== undefined && { include: (name: string) => name.includes(match) }),
  }).finally(() => progress.stop());
  if (match !== undefined && inspection.tensors.length === 0) {
    throw new CliError({
      code: 'cli/no-match',
      message: `no tensor of ${path} has a name that contains ${JSON.stringify(match)}`,
      value: match,
      remedy: 'moestack fp8 inspect without --match lists the names',
    });
  }
  if (report !== undefined) await writeOutput(report, reportJson(inspection));
  if (html !== undefined) await writeOutput(html, inspectionHtml(inspection));
  reporter.result({ event: 'inspected', inspection }, [inspectionTable(inspection, { rows }).trimEnd()]);
  for (const file of [report, html]) {
    if (file !== undefined) reporter.note({ event: 'written', file }, `written: ${file}`);
  }
}

/** JSON with a tensor a line, piece by piece: a report of a hundred thousand tensors is long. */
function* reportJson(inspection: CheckpointInspection): Generator<string> {
  const { tensors, ...rest } = inspection;
  const head = JSON.stringify(rest);
  yield `${head.slice(0, -1)},"tensors":[`;
  for (const [index, tensor] of tensors.entries()) {
    yield `${index === 0 ? '' : ','}\n${JSON.stringify(tensor)}`;
  }
  yield '\n]}\n';
}
