import { escapeHtml } from '@moestack/schemas/html';

/** A line of a {@link lineChart}. */
export interface Line {
  readonly name: string;
  /** Number of the colour. */
  readonly color: number;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** What a {@link lineChart} shows. */
export interface ChartOptions {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly xLabel: string;
  readonly formatX: (value: number) => string;
  readonly formatY: (value: number) => string;
  /** Top of the vertical axis; default by the values. */
  readonly top?: number;
  /** Horizontal axis by powers of ten. */
  readonly logX?: boolean;
  /** Vertical lines with a label. */
  readonly marks?: readonly { readonly x: number; readonly label: string; readonly color: number }[];
}

const width = 520;
const height = 250;
const margin = { left: 52, right: 14, top: 12, bottom: 38 };
const plotWidth = width - margin.left - margin.right;
const plotHeight = height - margin.top - margin.bottom;
const mostPoints = 400;

/** A figure with lines as SVG without scripts. */
export function lineChart(options: ChartOptions): string {
  const { title, formatX, formatY, xLabel, logX = false, marks = [] } = options;
  const lines = options.lines
    .map((line) => ({ ...line, points: thin(line.points.filter(([x]) => !logX || x > 0)) }))
    .filter(({ points }) => points.length > 0);
  if (lines.length === 0) return figure(title, '<p class="quiet">Nothing to show.</p>');
  const xs = [...lines.flatMap(({ points }) => points.map(([x]) => x)), ...marks.map(({ x }) => x)];
  const [low, high] = xRange(xs, logX);
  const top = options.top ?? niceTop(Math.max(...lines.flatMap(({ points }) => points.map(([, y]) => y))));
  const scale = logX ? Math.log10 : (value: number) => value;
  const x = (value: number) =>
    margin.left + ((scale(value) - scale(low)) / Math.max(1e-12, scale(high) - scale(low))) * plotWidth;
  const y = (value: number) => margin.top + (1 - value / top) * plotHeight;
  const parts: string[] = [];
  for (let step = 0; step <= 4; step++) {
    const at = y((top * step) / 4);
    parts.push(`<path class="grid" d="M${margin.left} ${fixed(at)}h${plotWidth}"/>`);
    parts.push(text(margin.left - 6, at + 4, 'end', formatY((top * step) / 4)));
  }
  xTicks(low, high, logX).forEach((tick, index, all) => {
    // The last one would stick out.
    const anchor = index === all.length - 1 ? 'end' : 'middle';
    parts.push(text(x(tick), height - 20, anchor, formatX(tick)));
  });
  parts.push(text(margin.left + plotWidth / 2, height - 4, 'middle', xLabel));
  for (const mark of marks) {
    parts.push(`<path class="mark c${mark.color}" d="M${fixed(x(mark.x))} ${margin.top}v${plotHeight}"/>`);
    parts.push(text(x(mark.x) - 4, margin.top + plotHeight - 6, 'end', mark.label));
  }
  for (const { name, color, points } of lines) {
    const path = points.map(([a, b], i) => `${i === 0 ? 'M' : 'L'}${fixed(x(a))} ${fixed(y(b))}`).join('');
    parts.push(`<path class="line c${color}" d="${path}"><title>${escapeHtml(name)}</title></path>`);
  }
  const legend = lines
    .map(({ name, color }) => `<span class="key c${color}">${escapeHtml(name)}</span>`)
    .join('');
  return figure(
    title,
    `<p class="legend">${legend}</p><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">${parts.join('')}</svg>`,
  );
}

/** Share of the values that are at most x, as points of a line. */
export function cumulative(values: readonly number[]): (readonly [number, number])[] {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.map((value, index) => [value, (index + 1) / sorted.length] as const);
}

function figure(title: string, content: string): string {
  return `<figure><figcaption>${escapeHtml(title)}</figcaption>${content}</figure>`;
}

function text(x: number, y: number, anchor: string, content: string): string {
  return `<text x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}">${escapeHtml(content)}</text>`;
}

/** Evenly chosen points, the first and the last among them. */
function thin<T>(points: readonly T[]): readonly T[] {
  if (points.length <= mostPoints) return points;
  const every = (points.length - 1) / (mostPoints - 1);
  return Array.from({ length: mostPoints }, (_, index) => points[Math.round(index * every)]!);
}

function xRange(xs: readonly number[], logX: boolean): [number, number] {
  const low = xs.reduce((least, x) => Math.min(least, x), Number.POSITIVE_INFINITY);
  const high = xs.reduce((most, x) => Math.max(most, x), Number.NEGATIVE_INFINITY);
  if (!logX) return [Math.min(0, low), high > low ? high : low + 1];
  return [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high) + 1e-9)];
}

function xTicks(low: number, high: number, logX: boolean): number[] {
  if (!logX) return Array.from({ length: 6 }, (_, index) => low + ((high - low) * index) / 5);
  const first = Math.round(Math.log10(low));
  const last = Math.round(Math.log10(high));
  return Array.from({ length: last - first + 1 }, (_, index) => 10 ** (first + index));
}

/** A round number not below `value`, of which a quarter is round too. */
function niceTop(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 8, 10].map((factor) => factor * power).find((top) => top >= value * 0.999) ?? value;
}

function fixed(value: number): string {
  return value.toFixed(1);
}
