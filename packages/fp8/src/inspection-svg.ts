import { escapeHtml } from '@moestack/schemas/html';

/** Plots are this wide and high in their own units; pages scale them. */
const WIDTH = 460;
const HEIGHT = 190;
const MARGIN = { left: 46, right: 10, top: 10, bottom: 34 } as const;
const PLOT_WIDTH: number = WIDTH - MARGIN.left - MARGIN.right;
const PLOT_HEIGHT: number = HEIGHT - MARGIN.top - MARGIN.bottom;

/** A histogram to draw. */
export interface BarPlot {
  readonly label: string;
  readonly counts: readonly number[];
  /** Text below bar `index`; only some are drawn. */
  readonly tick: (index: number) => string;
  /** Text below the axis. */
  readonly axis: string;
  /** Small plots carry no grid and fewer ticks. */
  readonly small?: boolean;
}

/** A histogram, its bars as shares of the sum. */
export function barPlot({ label, counts, tick, axis, small = false }: BarPlot): string {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const peak = Math.max(...counts, 1);
  const top = niceCeiling((100 * peak) / Math.max(total, 1));
  const step = PLOT_WIDTH / Math.max(counts.length, 1);
  const gap = step > 4 ? 1 : 0;
  let path = '';
  counts.forEach((count, index) => {
    if (count === 0) return;
    // A bar that is there is seen.
    const height = Math.max((PLOT_HEIGHT * 100 * count) / total / top, 0.75);
    const x = fixed(MARGIN.left + index * step + gap / 2);
    path += `M${x} ${MARGIN.top + PLOT_HEIGHT}v${fixed(-height)}h${fixed(step - gap)}v${fixed(height)}z`;
  });
  const lines = (small ? [0, 1] : [0, 0.5, 1]).map((share) =>
    gridLine(MARGIN.top + PLOT_HEIGHT * (1 - share), `${trim(top * share)}%`),
  );
  const every = Math.max(1, Math.ceil(counts.length / (small ? 6 : 9)));
  let ticks = '';
  for (let index = 0; index < counts.length; index += every) {
    ticks += text(MARGIN.left + (index + 0.5) * step, HEIGHT - 18, 'middle', tick(index));
  }
  return svg(label, `${lines.join('')}<path class="bars" d="${path}"/>${ticks}${axisLabel(axis)}`);
}

/** Points of a {@link pointPlot}. */
export interface PointSeries {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number; readonly title: string }[];
}

/** Points over their position, the vertical axis in decades; at most eight series are told apart. */
export function pointPlot(
  label: string,
  series: readonly PointSeries[],
  length: number,
  axis: string,
): string {
  const values = series.flatMap(({ points }) => points.map(({ y }) => y)).filter((y) => y > 0);
  if (values.length === 0) return '';
  let [smallest, largest] = [Number.POSITIVE_INFINITY, 0];
  for (const value of values) {
    smallest = Math.min(smallest, value);
    largest = Math.max(largest, value);
  }
  const [low, high] = [niceStep(smallest, false), niceStep(largest, true)];
  const span = Math.max(Math.log10(high / low), 0.1);
  const place = (y: number): number => MARGIN.top + (PLOT_HEIGHT * Math.log10(high / y)) / span;
  const ticks = tickValues(low, high);
  let body = ticks.map((value) => gridLine(place(value), decimal(value))).join('');
  series.forEach(({ points }, index) => {
    body += `<g class="series-${Math.min(index, 7)}">`;
    for (const { x, y, title } of points) {
      if (y <= 0) continue;
      const cx = MARGIN.left + (PLOT_WIDTH * (x + 0.5)) / Math.max(length, 1);
      body += `<circle cx="${fixed(cx)}" cy="${fixed(place(y))}" r="2.6"><title>${escapeHtml(title)}</title></circle>`;
    }
    body += '</g>';
  });
  return svg(label, body + axisLabel(axis));
}

function svg(label: string, body: string): string {
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(label)}">${body}</svg>`;
}

function gridLine(y: number, label: string): string {
  const line = `<path class="grid" d="M${MARGIN.left} ${fixed(y)}h${PLOT_WIDTH}"/>`;
  return line + text(MARGIN.left - 6, y + 4, 'end', label);
}

function axisLabel(label: string): string {
  return text(MARGIN.left + PLOT_WIDTH / 2, HEIGHT - 3, 'middle', label, 'axis');
}

function text(x: number, y: number, anchor: string, content: string, className = 'tick'): string {
  return `<text class="${className}" x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}">${escapeHtml(content)}</text>`;
}

/** The next of 1, 2, 5, 10, 20 ... percent. */
function niceCeiling(percent: number): number {
  return Math.min(niceStep(percent, true), 100);
}

/** The nearest of ... 0.5, 1, 2, 5 ... that is not below `value`, or not above it. */
function niceStep(value: number, up: boolean): number {
  const exponent = Math.floor(Math.log10(value));
  const steps = [0.5, 1, 2, 5, 10, 20].map((step) => Number(`${step}e${exponent}`));
  const found = up ? steps.find((step) => step >= value) : steps.findLast((step) => step <= value);
  return found ?? value;
}

/** 1, 2 and 5 of every decade where they are few, else some of the decades. */
function tickValues(low: number, high: number): number[] {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const decades = last - first;
  const factors = decades <= 2 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil(decades / 5));
  const values: number[] = [];
  for (let exponent = first; exponent <= last; exponent += every) {
    for (const factor of factors) values.push(Number(`${factor}e${exponent}`));
  }
  return values.filter((value) => value >= low && value <= high);
}

function decimal(value: number): string {
  return value >= 1e-4 && value < 1e5 ? String(value) : value.toExponential().replace('+', '');
}

function trim(value: number): string {
  return String(Number(value.toPrecision(2)));
}

function fixed(value: number): string {
  return String(Number(value.toFixed(1)));
}
