import { type ConversionTarget, convertCheckpoint } from '@moestack/fp8/node';
import { megabytes, ProgressDisplay } from '../../progress-display.js';
import type { Reporter } from '../../reporter.js';

/** Options of `moestack fp8 convert`. */
export interface ConvertCommandOptions {
  readonly target: ConversionTarget;
}

/** Converts a checkpoint; an interrupted conversion is taken up again by the same command. */
export async function convert(
  from: string,
  to: string,
  { target }: ConvertCommandOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const fields = ['doneBytes', 'totalBytes'] as const;
  const progress = new ProgressDisplay(reporter, { label: 'converting', total: megabytes, fields });
  const result = await convertCheckpoint({
    from,
    to,
    target,
    signal,
    onProgress: ({ doneBytes, totalBytes }) => progress.update(doneBytes, totalBytes),
  }).finally(() => progress.stop());
  const { tensors, bytesWritten } = result;
  const written = bytesWritten === 0 ? 'all of it was there already' : `${megabytes(bytesWritten)} written`;
  reporter.result({ event: 'converted', from, to, target, tensors, bytesWritten }, [
    `${to}: ${tensors} tensors as ${target}, ${written}`,
  ]);
}
