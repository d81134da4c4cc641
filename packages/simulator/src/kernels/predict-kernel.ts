import { SimulatorError } from '../errors.js';
import type { MeasuredSystem } from '../hardware/accelerator.js';
import { KernelModel } from './kernel-model.js';
import { type KernelTableName, kernelSources, kernelTable } from './tables.js';

const models = new Map<string, KernelModel>();

/** The model of one result column of a table, or of a sum of several; made once. */
export function kernelModel(
  system: MeasuredSystem,
  name: KernelTableName,
  ...results: number[]
): KernelModel {
  if (results.length === 0) results.push(0);
  const key = `${system}.${name}.${results.join('+')}`;
  let model = models.get(key);
  if (model === undefined) {
    model = new KernelModel(name, kernelTable(system, name), results);
    models.set(key, model);
  }
  return model;
}

/**
 * Predicts a measurement that the tables may or may not contain: the same columns as a table's row in, its results out.
 *
 * @param query - the input columns by name; `kernel_source` as text, `distribution` as `uniform` or `power_law_1.2`.
 * @returns the result columns by name, in the table's unit.
 * @throws SimulatorError `simulator/bad-config` for a missing or impossible column.
 *
 * @example
 * ```ts
 * import { predictKernel } from '@moestack/simulator';
 *
 * const query = { kernel_source: 'fa3', num_heads: 128, batch_size: 64, isl: 4096 };
 * console.log(predictKernel('h100_sxm', 'mla_generation', query).latency, 'ms');
 * ```
 */
export function predictKernel(
  system: MeasuredSystem,
  name: KernelTableName,
  query: Readonly<Record<string, number | string>>,
): Record<string, number> {
  const { columns, inputs } = kernelTable(system, name);
  const point = Float64Array.from(columns.slice(0, inputs), (column) => readColumn(column, query[column]));
  return Object.fromEntries(
    columns.slice(inputs).map((column, i) => [column, kernelModel(system, name, i).predict(point)]),
  );
}

function readColumn(column: string, value: number | string | undefined): number {
  let number = Number(value);
  let minimum = 1;
  if (column === 'kernel_source') {
    number = kernelSources.indexOf(String(value));
    minimum = 0;
  } else if (column === 'distribution') {
    number = value === 'uniform' ? 0 : Number(String(value).replace(/^power_law_/, ''));
    minimum = 0;
  }
  if (value === undefined || !Number.isFinite(number) || number < minimum || number > 1e9) {
    const expected =
      column === 'kernel_source'
        ? `one of ${kernelSources.join(', ')}`
        : column === 'distribution'
          ? 'uniform or power_law_<exponent>'
          : 'a number from 1 to 1e9';
    throw new SimulatorError({
      code: 'simulator/bad-config',
      message: `expected ${expected} for ${column}, got ${value}`,
      value,
      remedy: `pass ${column} as described`,
    });
  }
  return number;
}
