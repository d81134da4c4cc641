import { invalidConfig } from '../moe/checks.js';
import { deepEpPublished, type LowLatencyRow } from './published.js';

/** One direction of a low-latency exchange. */
export type LowLatencyPhase = 'dispatch' | 'combine';

/**
 * Time of a low-latency exchange by linear interpolation in log2(ranks) of a table of measurements, outside it by the slope of its last two rows. This is a
 * lookup, not a model: it says nothing about other message sizes or hardware.
 */
export function interpolateLowLatencyUs(
  ranks: number,
  phase: LowLatencyPhase,
  rows: readonly LowLatencyRow[] = deepEpPublished.lowLatency.rows,
): number {
  if (!(ranks >= 1)) throw invalidConfig('ranks', ranks, 'a number of at least 1');
  if (rows.length < 2) throw invalidConfig('rows', rows.length, 'at least two rows');
  let upper = 1;
  while (upper < rows.length - 1 && (rows[upper] as LowLatencyRow).ranks < ranks) upper++;
  const low = rows[upper - 1] as LowLatencyRow;
  const high = rows[upper] as LowLatencyRow;
  const share = Math.log2(ranks / low.ranks) / Math.log2(high.ranks / low.ranks);
  const from = microseconds(low, phase);
  return from + (microseconds(high, phase) - from) * share;
}

/** Relative error of predicting each row from the others: what the interpolation is worth between (and beyond) measured sizes. */
export function leaveOneOutErrors(
  phase: LowLatencyPhase,
  rows: readonly LowLatencyRow[] = deepEpPublished.lowLatency.rows,
): { readonly ranks: number; readonly error: number; readonly extrapolated: boolean }[] {
  return rows.map((row, index) => {
    const others = rows.filter((_, i) => i !== index);
    const predicted = interpolateLowLatencyUs(row.ranks, phase, others);
    return {
      ranks: row.ranks,
      error: predicted / microseconds(row, phase) - 1,
      extrapolated: index === 0 || index === rows.length - 1,
    };
  });
}

function microseconds(row: LowLatencyRow, phase: LowLatencyPhase): number {
  return phase === 'dispatch' ? row.dispatchUs : row.combineUs;
}
