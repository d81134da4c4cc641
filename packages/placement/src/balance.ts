import { badShape, positiveInteger } from './operands.js';

/** Balance of one or more rows of loads; every figure is of even load when a row is empty (all zero). */
export interface BalanceMetrics {
  /** Mean over rows of (mean + 1e-5) / (max + 1e-5): SGLang's balancedness. 1 is perfect. */
  readonly meanOfRatios: number;
  /** Sum over rows of mean / sum over rows of max: vLLM's balancedness. 1 is perfect. */
  readonly ratioOfSums: number;
  /** Mean over rows of max / mean - 1: MaxVio of auxiliary-loss-free balancing. 0 is perfect. */
  readonly maxViolation: number;
  /** Highest max / mean - 1 of any row. */
  readonly worstViolation: number;
  /** Mean over rows of standard deviation / mean. */
  readonly coefficientOfVariation: number;
  /** Mean over rows of the Gini coefficient, 0 (even) to 1 - 1/n (all on one). */
  readonly gini: number;
  /** Mean over rows of Jain's fairness index (sum x)^2 / (n sum x^2), 1/n to 1. */
  readonly jain: number;
  /** Mean over rows of the entropy of load shares divided by ln n, 0 to 1. */
  readonly entropy: number;
}

/** The epsilon that SGLang adds to mean and max. */
const SGLANG_EPSILON = 1e-5;

/**
 * Balance of loads over GPUs (of {@link gpuLoads}) or over experts (of counts): the figures of SGLang and of vLLM,
 * which differ, and the usual measures of spread.
 *
 * @param loads - [rows, columns], finite and not negative; a row is a layer.
 */
export function balanceMetrics(loads: ArrayLike<number>, columns: number): BalanceMetrics {
  positiveInteger('columns', columns);
  const rows = loads.length / columns;
  if (!Number.isInteger(rows) || rows < 1) {
    throw badShape(
      `expected whole rows of ${columns} loads, got ${loads.length} values`,
      loads.length,
      'pass rows x columns values',
    );
  }
  const sums = { ratio: 0, mean: 0, max: 0, violation: 0, worst: 0, cv: 0, gini: 0, jain: 0, entropy: 0 };
  const row = new Float64Array(columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const value = loads[r * columns + c]!;
      if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) {
        throw badShape(
          `expected finite loads of at least 0, got ${value} in row ${r}`,
          String(value),
          'pass token counts',
        );
      }
      row[c] = value;
    }
    addRow(row.sort(), sums);
  }
  return {
    meanOfRatios: sums.ratio / rows,
    ratioOfSums: sums.max > 0 ? sums.mean / sums.max : 1,
    maxViolation: sums.violation / rows,
    worstViolation: sums.worst,
    coefficientOfVariation: sums.cv / rows,
    gini: sums.gini / rows,
    jain: sums.jain / rows,
    entropy: sums.entropy / rows,
  };
}

function addRow(sorted: Float64Array, sums: Record<string, number>): void {
  const n = sorted.length;
  const max = sorted[n - 1]!;
  if (max === 0) {
    sums['ratio']! += 1;
    sums['jain']! += 1;
    sums['entropy']! += 1;
    return;
  }
  // Shares of the maximum keep squares and sums within range for any finite load.
  let total = 0;
  let squares = 0;
  let ranked = 0;
  for (let i = 0; i < n; i++) {
    const share = sorted[i]! / max;
    total += share;
    squares += share * share;
    ranked += (2 * (i + 1) - n - 1) * share;
  }
  let entropy = 0;
  for (let i = 0; i < n; i++) {
    const share = sorted[i]! / max / total;
    if (share > 0) entropy -= share * Math.log(share);
  }
  const mean = total / n;
  const violation = Math.max(0, 1 / mean - 1);
  sums['ratio']! += (mean * max + SGLANG_EPSILON) / (max + SGLANG_EPSILON);
  sums['mean']! += mean * max;
  sums['max']! += max;
  sums['violation']! += violation;
  sums['worst'] = Math.max(sums['worst']!, violation);
  sums['cv']! += Math.sqrt(Math.max(0, squares / n - mean * mean)) / mean;
  sums['gini']! += ranked / (n * total);
  sums['jain']! += (total * total) / (n * squares);
  sums['entropy']! += n > 1 ? entropy / Math.log(n) : 1;
}
