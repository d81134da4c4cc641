import { MeasuredSystem } from '../hardware/accelerator.js';
import { KernelModel } from './kernel-model.js';
import { hasKernelTable, type KernelTableName, kernelTable, kernelTableNames } from './tables.js';

/** Errors of one result column of one table, each row predicted by a model that has not seen it. */
export interface KernelError {
  readonly system: MeasuredSystem;
  readonly table: KernelTableName;
  readonly column: string;
  readonly rows: number;
  /** Absolute percentage errors as fractions. */
  readonly median: number;
  readonly p90: number;
  readonly worst: number;
}

/**
 * Predicts every row of every table from the rows of other folds. `folds: 2` leaves out half of the points at a time.
 *
 * @param options - `folds`, default 10; `tables`, default all.
 */
export function crossValidateKernels(
  options: { folds?: number; tables?: readonly KernelTableName[]; systems?: readonly MeasuredSystem[] } = {},
): KernelError[] {
  const { folds = 10, tables = kernelTableNames, systems = MeasuredSystem.options } = options;
  const results: KernelError[] = [];
  for (const system of systems) {
    for (const table of tables) {
      // The multi-node tables of H100 and H200 are the same numbers: they count once.
      if (!hasKernelTable(system, table) || (system === 'h200_sxm' && table.endsWith('multinode'))) continue;
      const { columns, inputs } = kernelTable(system, table);
      const single = columns.slice(inputs).map((column, result) => ({ column, summed: [result] }));
      for (const { column, summed } of [...single, ...totals(table)]) {
        const errors = foldErrors(system, table, summed, folds);
        if (errors.length === 0) continue;
        results.push({
          system,
          table,
          column,
          rows: errors.length,
          median: quantile(errors, 0.5),
          p90: quantile(errors, 0.9),
          worst: quantile(errors, 1),
        });
      }
    }
  }
  return results;
}

/** {@link crossValidateKernels} as a Markdown table. */
export function kernelErrorTable(errors: readonly KernelError[]): string {
  const percent = (value: number): string => `${(100 * value).toFixed(1)} %`;
  return [
    '| machine | table | column | rows | median | 90 % below | worst |',
    '|---|---|---|---|---|---|---|',
    ...errors.map(
      ({ system, table, column, rows, median, p90, worst }) =>
        `| ${system} | ${table} | ${column} | ${rows} | ${percent(median)} | ${percent(p90)} | ${percent(worst)} |`,
    ),
  ].join('\n');
}

/** A whole dispatch and combine: waiting for counts and moving bytes make up for each other, so the sum scatters least. It is what steps are priced with. */
function totals(table: KernelTableName): { column: string; summed: number[] }[] {
  if (table !== 'deepep_normal_multinode') return [];
  return [
    { column: 'dispatch, both', summed: [0, 1] },
    { column: 'combine, both', summed: [2, 3] },
  ];
}

function foldErrors(
  system: MeasuredSystem,
  name: KernelTableName,
  summed: readonly number[],
  folds: number,
): number[] {
  const table = kernelTable(system, name);
  const columns = summed.map((result) => table.inputs + result);
  const measured = (row: Float64Array): number => columns.reduce((sum, column) => sum + row[column]!, 0);
  const rows = table.rows.filter((row) => row[columns[0]!]! > 0);
  // Rows of one table stand in an order of sizes; a multiplicative hash spreads neighbours over folds.
  const fold = (index: number): number => Math.floor(((index * 0.6180339887498949) % 1) * folds);
  const errors: number[] = [];
  for (let f = 0; f < folds; f++) {
    const seen = rows.filter((_, index) => fold(index) !== f);
    if (seen.length === rows.length) continue;
    const model = new KernelModel(name, { ...table, rows: seen }, summed);
    rows.forEach((row, index) => {
      if (fold(index) === f) errors.push(Math.abs(model.predict(row) / measured(row) - 1));
    });
  }
  return errors.sort((a, b) => a - b);
}

function quantile(sorted: readonly number[], q: number): number {
  const rank = q * (sorted.length - 1);
  const low = Math.floor(rank);
  const next = sorted[Math.min(low + 1, sorted.length - 1)]!;
  return sorted[low]! + (next - sorted[low]!) * (rank - low);
}
