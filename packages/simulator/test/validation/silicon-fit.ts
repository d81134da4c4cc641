import { ResidualModel } from '../../src/kernels/residual-model.js';
import { configurationOf, predictRow, type SiliconRow } from './silicon-rows.js';

/** Result of judging rows by models that have not seen their configurations. */
export interface SiliconErrors {
  readonly rows: number;
  readonly configurations: number;
  readonly median: number;
  readonly p90: number;
  /** Medians where the number of workers was recorded, and where not. */
  readonly medianWithWorkers: number;
  readonly medianWithoutWorkers: number;
  /** Spearman's, of prediction and measurement. */
  readonly rankCorrelation: number;
}

const RIDGE = 1;
const text = (row: SiliconRow, name: string): string => String(row[name] ?? '');
const number = (row: SiliconRow, name: string, otherwise = 1): number =>
  typeof row[name] === 'number' ? (row[name] as number) : otherwise;
const log2 = (value: number): number => Math.log2(Math.max(1, value));

/**
 * What may explain the rest: load, layout, system, software. The scales say how far apart two rows must be in each respect before one says
 * little about the other; they are round numbers, chosen on these rows.
 */
function describeRow(
  row: SiliconRow,
  versions: readonly string[],
  predicted: number,
  target: 'ttft' | 'tpot',
): Float64Array {
  const disaggregated = row['mode'] === 'disagg';
  const decode = disaggregated ? 'decode_' : '';
  const prefill = disaggregated ? 'prefill_' : '';
  const gpus = (prefix: string): number =>
    Math.max(
      number(row, `${prefix}tp_size`) * number(row, `${prefix}attention_dp_size`),
      number(row, `${prefix}moe_ep_size`) * number(row, `${prefix}moe_tp_size`),
    );
  const system = text(row, 'system');
  const concurrency = number(row, 'concurrency');
  // Sweeps in powers of two and sweeps in batches of workers come from different campaigns.
  const round = Number.isInteger(Math.log2(concurrency));
  const day = Date.parse(`${text(row, 'measured')}T00:00:00Z`) / 86_400e3;
  const flag = (value: boolean): number => (value ? 1 : 0);
  return Float64Array.of(
    log2(concurrency) / 16,
    log2(number(row, 'isl')) / 12,
    log2(number(row, 'osl')) / 12,
    log2(gpus(decode)) / 12,
    log2(number(row, `${decode}moe_ep_size`)) / 16,
    log2(number(row, `${decode}attention_dp_size`)) / 16,
    log2(gpus(prefill)) / 24,
    log2(number(row, `${prefill}attention_dp_size`)) / 24,
    (disaggregated ? log2(number(row, 'decode_num_workers')) : 0) / 12,
    flag(disaggregated && row['decode_num_workers'] === null) / 6,
    (disaggregated ? log2(number(row, 'prefill_num_workers')) : 0) / 16,
    log2(number(row, 'gpus')) / 16,
    flag(row['gpus'] === null) / 8,
    flag(disaggregated) / 6,
    flag(row['backend'] === 'trtllm') / 4,
    flag(row['precision'] === 'fp4') / 6,
    flag(system.startsWith('h')) / 4,
    flag(system.startsWith('b')) / 8,
    flag(system.startsWith('gb')) / 8,
    flag(system.includes('300')) / 6,
    (day - 20_454) / 30 / 4,
    versions.indexOf(text(row, 'backend_version')) / 8,
    flag(round) / 3,
    log2(predictRow(row).batch) / 16,
    Math.log(predicted) / (target === 'tpot' ? 4 : 3),
  );
}

/** A fit of measured latencies: a line through all descriptions, corrected by rows nearby. */
export class SiliconFit {
  readonly #target: 'ttft' | 'tpot';
  readonly #versions: readonly string[];
  readonly #line: Float64Array;
  readonly #residuals: ResidualModel;

  constructor(rows: readonly SiliconRow[], target: 'ttft' | 'tpot') {
    this.#target = target;
    this.#versions = [...new Set(rows.map((row) => text(row, 'backend_version')))].sort();
    const points = rows.map((row) => this.#describe(row));
    const logs = Float64Array.from(rows, (row) => Math.log(number(row, `${target}_ms`) / 1e3));
    this.#line = ridge(points, logs);
    const residuals = Float64Array.from(logs, (value, i) => value - along(this.#line, points[i]!));
    this.#residuals = new ResidualModel(points, residuals, target === 'tpot' ? 0.1 : 0.15);
  }

  /** Seconds. */
  predict(row: SiliconRow): number {
    const point = this.#describe(row);
    return Math.exp(along(this.#line, point) + this.#residuals.at(point));
  }

  #describe(row: SiliconRow): Float64Array {
    const { tpotSeconds, ttftSeconds } = predictRow(row);
    return describeRow(
      row,
      this.#versions,
      this.#target === 'tpot' ? tpotSeconds : ttftSeconds,
      this.#target,
    );
  }
}

/** Predictions in seconds, each tenth of the configurations by a fit of the others. */
export function crossValidatedSeconds(
  rows: readonly SiliconRow[],
  target: 'ttft' | 'tpot',
  folds = 10,
): Float64Array {
  const configurations = [...new Set(rows.map(configurationOf))].sort();
  // A multiplicative hash spreads neighbours in that order over folds.
  const foldOf = new Map(
    configurations.map((name, index) => [name, Math.floor(((index * 0.6180339887498949) % 1) * folds)]),
  );
  const fold = rows.map((row) => foldOf.get(configurationOf(row)));
  const predicted = new Float64Array(rows.length);
  for (let f = 0; f < folds; f++) {
    const fit = new SiliconFit(
      rows.filter((_, i) => fold[i] !== f),
      target,
    );
    rows.forEach((row, i) => {
      if (fold[i] === f) predicted[i] = fit.predict(row);
    });
  }
  return predicted;
}

/** Judges predictions in seconds, one a row. */
export function judgeSilicon(
  rows: readonly SiliconRow[],
  target: 'ttft' | 'tpot',
  predicted: ArrayLike<number>,
): SiliconErrors {
  const measured = rows.map((row) => number(row, `${target}_ms`) / 1e3);
  const errors = measured.map((value, i) => Math.abs(predicted[i]! / value - 1));
  const quantile = (keep: (row: SiliconRow) => boolean, q: number): number => {
    const kept = errors.filter((_, i) => keep(rows[i]!)).sort((a, b) => a - b);
    return kept[Math.min(kept.length - 1, Math.floor(q * kept.length))]!;
  };
  const known = (row: SiliconRow): boolean => row['mode'] === 'disagg' && row['decode_num_workers'] !== null;
  return {
    rows: rows.length,
    configurations: new Set(rows.map(configurationOf)).size,
    median: quantile(() => true, 0.5),
    p90: quantile(() => true, 0.9),
    medianWithWorkers: quantile(known, 0.5),
    medianWithoutWorkers: quantile((row) => row['mode'] === 'disagg' && !known(row), 0.5),
    rankCorrelation: correlation(ranks(Array.from(predicted)), ranks(measured)),
  };
}

/** Ranks; equal values share their mean. */
function ranks(values: readonly number[]): number[] {
  const order = [...values.keys()].sort((a, b) => values[a]! - values[b]!);
  const result = new Array<number>(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end + 1 < order.length && values[order[end + 1]!] === values[order[start]!]) end++;
    for (let i = start; i <= end; i++) result[order[i]!] = (start + end) / 2;
    start = end + 1;
  }
  return result;
}

function correlation(a: readonly number[], b: readonly number[]): number {
  const meanOf = (values: readonly number[]): number => values.reduce((x, y) => x + y, 0) / values.length;
  const meanA = meanOf(a);
  const meanB = meanOf(b);
  let both = 0;
  let squareA = 0;
  let squareB = 0;
  a.forEach((value, i) => {
    both += (value - meanA) * (b[i]! - meanB);
    squareA += (value - meanA) ** 2;
    squareB += (b[i]! - meanB) ** 2;
  });
  return both / Math.sqrt(squareA * squareB);
}

/** Least squares with a penalty on coefficients: [intercept, slopes]. */
function ridge(points: readonly Float64Array[], values: Float64Array): Float64Array {
  const n = points[0]!.length + 1;
  const matrix = new Float64Array(n * (n + 1));
  points.forEach((point, r) => {
    const x = (i: number): number => (i === 0 ? 1 : point[i - 1]!);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) matrix[i * (n + 1) + j]! += x(i) * x(j);
      matrix[i * (n + 1) + n]! += x(i) * values[r]!;
    }
  });
  for (let i = 0; i < n; i++) matrix[i * (n + 1) + i]! += RIDGE;
  for (let i = 0; i < n; i++) {
    for (let k = i + 1; k < n; k++) {
      const factor = matrix[k * (n + 1) + i]! / matrix[i * (n + 1) + i]!;
      for (let j = i; j <= n; j++) matrix[k * (n + 1) + j]! -= factor * matrix[i * (n + 1) + j]!;
    }
  }
  const solution = new Float64Array(n);
  for (let i = n - 1; i >= 0; i--) {
    let sum = matrix[i * (n + 1) + n]!;
    for (let j = i + 1; j < n; j++) sum -= matrix[i * (n + 1) + j]! * solution[j]!;
    solution[i] = sum / matrix[i * (n + 1) + i]!;
  }
  return solution;
}

function along(line: Float64Array, point: Float64Array): number {
  let sum = line[0]!;
  for (let i = 0; i < point.length; i++) sum += line[i + 1]! * point[i]!;
  return sum;
}
