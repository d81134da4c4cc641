import { escapeHtml } from '@moestack/schemas/html';

/** A line of a {@link lineChart}. */
export interface ChartSeries {
  readonly name: string;
  /** Which of the eight colours of the page. */
  readonly color: number;
  /** Index of the dash pattern; 0 is solid. */
  readonly dash?: number;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** What a {@link lineChart} shows. */
export interface ChartOptions {
  readonly title: string;
  readonly x: string;
  readonly series: readonly ChartSeries[];
  /** Dashed horizontal line with a label. */
  readonly mark?: { readonly y: number; readonly label: string };
  /** Start the vertical axis at zero. */
  readonly fromZero?: boolean;
}

const [width, height] = [520, 270];
const margin = { left: 54, right: 14, top: 10, bottom: 36 };
const plotWidth = width - margin.left - margin.right;
const plotHeight = height - margin.top - margin.bottom;
const mostPoints = 320;

/** A figure with lines, as SVG without scripts. */
export function lineChart({ title, x, series, mark, fromZero = false }: ChartOptions): string {
  const drawn = series
    .map((entry) => ({ ...entry, points: thin(entry.points.filter(([, y]) => Number.isFinite(y))) }))
    .filter(({ points }) => points.length > 0);
  const all = drawn.flatMap(({ points }) => points);
  if (all.length === 0) return figure(title, '<p class="quiet">no data yet</p>');
  const [left, right] = extent(all.map(([value]) => value));
  const values = all.map(([, value]) => value);
  if (mark !== undefined) values.push(mark.y);
  if (fromZero) values.push(0);
  const ticksY = ticks(...extent(values), 5);
  const [low, high] = [Math.min(ticksY[0]!, ...values), Math.max(ticksY.at(-1)!, ...values)];
  const placeX = (value: number): number => margin.left + (plotWidth * (value - left)) / (right - left);
  const placeY = (value: number): number => margin.top + (plotHeight * (high - value)) / (high - low);

  let body = '';
  for (const tick of ticksY) {
    body += `<path class="grid" d="M${margin.left} ${fixed(placeY(tick))}h${plotWidth}"/>`;
    body += label(margin.left - 6, placeY(tick) + 4, 'end', shortNumber(tick));
  }
  for (const tick of ticks(left, right, 6)) {
    if (tick < left || tick > right) continue;
    body += label(placeX(tick), height - 20, 'middle', shortNumber(tick));
  }
  body += label(margin.left + plotWidth / 2, height - 4, 'middle', x);
  if (mark !== undefined) {
    body += `<path class="mark" d="M${margin.left} ${fixed(placeY(mark.y))}h${plotWidth}"/>`;
    body += label(width - margin.right, placeY(mark.y) - 5, 'end', mark.label);
  }
  for (const { name, color, dash = 0, points } of drawn) {
    const path = points
      .map(([a, b], i) => `${i === 0 ? 'M' : 'L'}${fixed(placeX(a))} ${fixed(placeY(b))}`)
      .join('');
    body += `<path class="line c${color % 8} d${dash % 4}" d="${path}"><title>${escapeHtml(name)}</title></path>`;
  }
  const svg = `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">${body}</svg>`;
  return figure(title, svg);
}

function figure(title: string, content: string): string {
  return `<figure><figcaption>${escapeHtml(title)}</figcaption>${content}</figure>`;
}

/** Means of neighbouring points where there are more than a plot can show. */
function thin(points: readonly (readonly [number, number])[]): readonly (readonly [number, number])[] {
  const each = Math.ceil(points.length / mostPoints);
  if (each <= 1) return points;
  const thinned: [number, number][] = [];
  for (let from = 0; from < points.length; from += each) {
    const part = points.slice(from, from + each);
    thinned.push([
      part.reduce((sum, [a]) => sum + a, 0) / part.length,
      part.reduce((sum, [, b]) => sum + b, 0) / part.length,
    ]);
  }
  return thinned;
}

function extent(values: readonly number[]): [low: number, high: number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

/** Round numbers that span a range. */
function ticks(low: number, high: number, about: number): number[] {
  const raw = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw)!;
  // Rounding errors of the data must not add an empty step.
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** 1500 as 1.5k, 0.0005 as 5e-4. */
function shortNumber(value: number): string {
  const magnitude = Math.abs(value);
  if (magnitude >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  if (magnitude >= 1e3) return `${Number((value / 1e3).toPrecision(4))}k`;
  if (magnitude > 0 && magnitude < 0.01)
    return value.toExponential(Number.isInteger(value / 10 ** Math.floor(Math.log10(magnitude))) ? 0 : 1);
  return String(Number(value.toPrecision(4)));
}

function label(x: number, y: number, anchor: string, content: string): string {
  return `<text x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}">${escapeHtml(content)}</text>`;
}

function fixed(value: number): number {
  return Number(value.toFixed(1));
}
