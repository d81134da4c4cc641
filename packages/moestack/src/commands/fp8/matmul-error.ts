import { setImmediate } from 'node:timers/promises';
import { type AccumulationStudyOptions, accumulationError } from '@moestack/fp8';
import { AbortedError } from '@moestack/schemas/errors';
import { ProgressDisplay } from '../../progress-display.js';
import type { Reporter } from '../../reporter.js';
import { textTable } from '../../text-table.js';

type Accumulate = AccumulationStudyOptions['accumulate'];
type Distribution = NonNullable<AccumulationStudyOptions['distribution']>;

/** Options of `moestack fp8 matmul-error`; lists give one row of the table for each combination. */
export interface MatmulErrorOptions {
  readonly k: readonly number[];
  readonly accumulate: readonly Accumulate[];
  /** 0: none but the one at the end. */
  readonly promote: readonly number[];
  readonly distribution: readonly Distribution[];
  readonly mean: number;
  readonly size: number;
  readonly seed: number;
  readonly promotion?: 'deepgemm' | 'kernelpy';
}

/** Measures what limited accumulation costs, for every combination of the lists. */
export async function matmulError(
  options: MatmulErrorOptions,
  reporter: Reporter,
  signal: AbortSignal,
): Promise<void> {
  const { mean, size, seed, promotion } = options;
  const cases = options.distribution.flatMap((distribution) =>
    options.accumulate.flatMap((accumulate) =>
      options.promote.flatMap((promote) => options.k.map((k) => ({ distribution, accumulate, promote, k }))),
    ),
  );
  const total = cases.reduce((sum, { k }) => sum + k, 0);
  const products = (count: number): string => `${((count * size * size) / 1e6).toFixed(0)} M products`;
  const progress = new ProgressDisplay(reporter, { label: 'multiplying', total: products });
  let done = 0;
  const rows: string[][] = [];
  const results: object[] = [];
  try {
    for (const { distribution, accumulate, promote, k } of cases) {
      // One case is synchronous; between two, signals get their turn.
      await setImmediate();
      if (signal.aborted) throw new AbortedError('matmul-error', signal.reason);
      const error = accumulationError({
        k,
        accumulate,
        distribution,
        mean,
        size,
        seed,
        ...(promote > 0 && { promoteEvery: promote }),
        ...(promotion !== undefined && { promotion }),
      });
      results.push({ distribution, accumulate, promoteEvery: promote === 0 ? null : promote, k, ...error });
      const figures = [
        error.frobenius,
        error.median,
        error.p99,
        error.maximum,
        error.maximumOfLargest,
        error.bias,
      ];
      rows.push([
        distribution === 'normal' && mean !== 0 ? `normal, mean ${mean}` : distribution,
        accumulate,
        promote === 0 ? 'none' : String(promote),
        String(k),
        ...figures.map((figure) => (figure === 0 ? '0' : figure.toExponential(1))),
      ]);
      done += k;
      progress.update(done, total);
    }
  } finally {
    progress.stop();
  }
  reporter.result({ event: 'matmul-error', size, seed, mean, results }, [
    ...textTable(
      ['<data', '<accumulation', 'promoted', 'K', 'Frobenius', 'median', 'p99', 'max', 'max/largest', 'bias'],
      rows,
    ),
    '',
    `Relative errors against exact sums of the same FP8 products, ${size} x ${size} of them, one scale a row.`,
  ]);
}
