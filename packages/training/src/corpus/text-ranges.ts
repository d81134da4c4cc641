/** A part of a text: UTF-16 units from `start` to `end`, exclusive. */
export interface TextRange {
  readonly start: number;
  readonly end: number;
}

/** The same positions as ranges in order that neither overlap nor touch. */
export function mergeRanges(ranges: readonly TextRange[]): TextRange[] {
  const sorted = ranges.filter(({ start, end }) => end > start).sort((a, b) => a.start - b.start);
  const merged: { start: number; end: number }[] = [];
  for (const { start, end } of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end);
    else merged.push({ start, end });
  }
  return merged;
}

/** What of `whole` is left without `removed`, in order. */
export function subtractRanges(whole: TextRange, removed: readonly TextRange[]): TextRange[] {
  const left: TextRange[] = [];
  let at = whole.start;
  for (const { start, end } of mergeRanges(removed)) {
    if (start >= whole.end) break;
    if (start > at) left.push({ start: at, end: start });
    at = Math.max(at, end);
  }
  if (at < whole.end) left.push({ start: at, end: whole.end });
  return left;
}

/** Sum of lengths. */
export function rangesLength(ranges: readonly TextRange[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}
