import { auditTexts } from '@moestack/detect';
import { CliError } from '../../errors.js';
import type { Reporter } from '../../reporter.js';
import { checkOutput, writeOutput } from '../fp8/output-file.js';
import { readRecords } from './read-records.js';

/** Options of {@link audit}. */
export interface AuditCommandOptions {
  readonly code?: boolean;
  readonly similarity?: number;
  readonly strict?: boolean;
  readonly out?: string;
}

/** Audits a file of labelled texts. */
export async function audit(data: string, options: AuditCommandOptions, reporter: Reporter): Promise<void> {
  await checkOutput(options.out);
  const records = await readRecords(data);
  const report = auditTexts(records, {
    ...(options.code === true && { isCode: true }),
    ...(options.similarity !== undefined && { similarity: options.similarity }),
  });
  if (options.out !== undefined) await writeOutput(options.out, `${JSON.stringify(report, undefined, 2)}\n`);
  const errors = report.findings.filter(({ severity }) => severity === 'error').length;
  const length =
    report.lengthAuc === undefined
      ? ''
      : `; the number of words alone has an AUROC of ${report.lengthAuc.toFixed(3)}`;
  reporter.result({ event: 'audit', ...report }, [
    `${report.texts} texts, ${report.humans} human and ${report.ais} AI${length}`,
    ...report.findings.map(({ kind, severity, count, message, ids }) => {
      const shown = count === report.texts ? '' : `: ${ids.slice(0, 5).join(', ')}${count > 5 ? ' ...' : ''}`;
      return `${severity}: ${kind} (${count}): ${message}${shown}`;
    }),
    report.findings.length === 0 ? 'no problem found' : `${report.drop.length} texts to leave out`,
  ]);
  if (options.strict === true && errors > 0)
    throw new CliError({
      code: 'cli/audit-failed',
      message: `expected data without errors, got ${errors} kinds of them`,
      value: data,
      remedy: 'repair the data before trusting figures on them',
    });
}
