import { escapeHtml } from '@moestack/schemas/html';

/** A number of a few digits, without an exponent for readable sizes. */
export function short(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return '-';
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(1);
  return Math.abs(value) >= 1000
    ? Math.round(value).toLocaleString('en-US')
    : String(Number(value.toPrecision(digits)));
}

/** A share in percent. */
export function percent(share: number, digits = 1): string {
  return `${(100 * share).toFixed(digits)}%`;
}

/** Round values that part a range into about `count` pieces. */
export function ticks(low: number, high: number, count: number): number[] {
  const span = high - low;
  if (!(span > 0)) return [low];
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw)!;
  const values: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++)
    values.push(Number((i * step).toPrecision(12)));
  return values;
}

/** Size and margins of a plot, in SVG units. */
export const frame: Readonly<Record<'width' | 'height' | 'left' | 'right' | 'top' | 'bottom', number>> = {
  width: 720,
  height: 230,
  left: 46,
  right: 10,
  top: 12,
  bottom: 34,
};

/** A plot with labelled axes; `marks` are drawn over the grid. */
export function plot(options: {
  label: string;
  x: { ticks: readonly { at: number; text: string }[]; title: string };
  y: { ticks: readonly { at: number; text: string }[]; title: string };
  marks: string;
  height?: number;
}): string {
  const { label, x, y, marks, height = frame.height } = options;
  const { width, left, right, top, bottom } = frame;
  const floor = height - bottom;
  const lines = y.ticks
    .map(
      ({ at, text }) =>
        `<line class="grid" x1="${left}" x2="${width - right}" y1="${round(at)}" y2="${round(at)}"/>` +
        `<text x="${left - 6}" y="${round(at + 4)}" text-anchor="end">${escapeHtml(text)}</text>`,
    )
    .join('');
  const bottoms = x.ticks
    .map(
      ({ at, text }) =>
        `<text x="${round(at)}" y="${floor + 15}" text-anchor="middle">${escapeHtml(text)}</text>`,
    )
    .join('');
  return (
    `<div class="scroll"><svg class="plot" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(label)}">` +
    `${lines}${marks}<line class="axis" x1="${left}" x2="${width - right}" y1="${floor}" y2="${floor}"/>${bottoms}` +
    `<text x="${(left + width - right) / 2}" y="${height - 4}" text-anchor="middle">${escapeHtml(x.title)}</text>` +
    `<text x="${left}" y="${top - 2}" text-anchor="start">${escapeHtml(y.title)}</text></svg></div>`
  );
}

/** Coordinates need no more than a hundredth of a unit. */
export function round(value: number): number {
  return Math.round(value * 100) / 100;
}
