import { element, setAttribute, setText, svg } from './dom.js';
import { ticks } from './format.js';

/** A curve of a {@link LineChart}. */
export interface ChartSeries {
  readonly label: string;
  /** Number of the colour. */
  readonly color: number;
  readonly filled?: boolean;
}

/** A moment: values of all series, `null` = none. */
export interface ChartPoint {
  readonly atSeconds: number;
  readonly values: readonly (number | null)[];
}

/** What a {@link LineChart} shows. */
export interface ChartOptions {
  readonly title: string;
  readonly series: readonly ChartSeries[];
  readonly format: (value: number) => string;
  /** The axis reaches at least this far. */
  readonly atLeast: number;
  readonly spanSeconds: number;
}

const height = 152;
const left = 54;
const right = 8;
const top = 8;
const bottom = 20;

/** Curves over the last minutes. The values of the pointed-at moment, else of the last one, stand in the caption. */
export class LineChart {
  readonly #options: ChartOptions;
  readonly #svg = svg('svg', { height, 'aria-hidden': 'true' });
  readonly #grid = svg('g');
  readonly #target = svg('line', { class: 'target' });
  readonly #cursor = svg('line', { class: 'cursor' });
  readonly #areas: (SVGPathElement | undefined)[];
  readonly #curves: SVGPathElement[];
  readonly #values: HTMLElement[];
  readonly #time = element('span', { className: 'time quiet' });
  readonly #targetNote = element('span', { className: 'series aim' });
  readonly #box = element('div', { className: 'area-box' });
  #points: readonly ChartPoint[] = [];
  #targetValue: number | null = null;
  #width = 0;
  /** Index of the pointed-at moment; -1 = none. */
  #at = -1;

  constructor(figure: HTMLElement, options: ChartOptions) {
    this.#options = options;
    const caption = element('figcaption');
    const legend = element('div', { className: 'line-legend' });
    const heading = element('h2', { text: options.title });
    this.#values = options.series.map((series) => {
      const label = element('span', { className: 'series' });
      const value = element('strong');
      label.append(element('span', { className: `swatch s${series.color}` }), `${series.label} `, value);
      legend.append(label);
      return value;
    });
    legend.append(this.#targetNote);
    caption.append(heading, this.#time, legend);
    this.#svg.append(this.#grid);
    this.#areas = options.series.map(({ color, filled }) => {
      if (filled !== true) return undefined;
      const area = svg('path', { class: `area s${color}` });
      this.#svg.append(area);
      return area;
    });
    this.#svg.append(this.#target);
    this.#curves = options.series.map(({ color }) => {
      const curve = svg('path', { class: `curve s${color}` });
      this.#svg.append(curve);
      return curve;
    });
    this.#svg.append(this.#cursor);
    const box = this.#box;
    box.append(this.#svg);
    box.tabIndex = 0;
    // A slider over time: screen readers speak the values when the arrow keys move it.
    for (const [name, value] of Object.entries({
      role: 'slider',
      'aria-label': `${options.title}, moment`,
      'aria-valuemin': '0',
      'aria-valuemax': '0',
      'aria-valuenow': '0',
    })) {
      box.setAttribute(name, value);
    }
    figure.append(caption, box);
    this.#listen();
    new ResizeObserver(() => {
      this.#width = Math.floor(box.clientWidth);
      this.#draw();
    }).observe(box);
  }

  /** Shows these moments, oldest first. */
  update(points: readonly ChartPoint[], target: number | null): void {
    // The pointed-at moment moves along.
    if (this.#at >= 0) {
      const moment = this.#points[this.#at]?.atSeconds ?? 0;
      this.#at = points.findIndex((point) => point.atSeconds >= moment);
    }
    this.#points = points;
    this.#targetValue = target;
    this.#draw();
  }

  #listen(): void {
    const box = this.#box;
    box.addEventListener('pointermove', (event) => {
      const share = (event.clientX - box.getBoundingClientRect().left - left) / (this.#width - left - right);
      const moment = this.#end() - (1 - share) * this.#options.spanSeconds;
      this.#point(this.#points.findLastIndex((point) => point.atSeconds <= moment + 0.5));
    });
    for (const name of ['pointerleave', 'blur']) box.addEventListener(name, () => this.#point(-1));
    box.addEventListener('keydown', (event) => {
      const last = this.#points.length - 1;
      const at = this.#at < 0 ? last : this.#at;
      const to = {
        ArrowLeft: at - 1,
        ArrowRight: at + 1,
        PageUp: at + 30,
        PageDown: at - 30,
        Home: 0,
        End: last,
      }[event.key];
      if (event.key === 'Escape') this.#point(-1);
      if (to === undefined) return;
      event.preventDefault();
      this.#point(Math.max(0, Math.min(last, to)));
    });
  }

  #point(index: number): void {
    this.#at = index;
    this.#draw();
  }

  #end(): number {
    return this.#points.at(-1)?.atSeconds ?? 0;
  }

  #draw(): void {
    const { series, format, spanSeconds, atLeast } = this.#options;
    this.#caption();
    if (this.#width < left + right + 20) return;
    const points = this.#points;
    const target = this.#targetValue;
    let highest = Math.max(atLeast, target === null ? 0 : target * 1.1);
    for (const { values } of points) for (const value of values) highest = Math.max(highest, value ?? 0);
    const marks = ticks(highest, 3);
    const scaleTop = marks.at(-1) ?? 1;
    const plotWidth = this.#width - left - right;
    const plotHeight = height - top - bottom;
    const end = this.#end();
    const x = (atSeconds: number) => left + (1 - (end - atSeconds) / spanSeconds) * plotWidth;
    const y = (value: number) => top + (1 - value / scaleTop) * plotHeight;
    setAttribute(this.#svg, 'viewBox', `0 0 ${this.#width} ${height}`);
    this.#drawGrid(marks, y, plotWidth);
    series.forEach((_, index) => {
      const runs = segments(points, index, x, y);
      setAttribute(this.#curves[index]!, 'd', runs.map((run) => `M${run.join('L')}`).join(''));
      const base = y(0).toFixed(1);
      const area = runs.map((run) => {
        const first = run[0]!.split(',')[0];
        return `M${first},${base}L${run.join('L')}L${run.at(-1)!.split(',')[0]},${base}Z`;
      });
      const shape = this.#areas[index];
      if (shape !== undefined) setAttribute(shape, 'd', area.join(''));
    });
    this.#place(this.#target, target === null ? undefined : [left, y(target), left + plotWidth, y(target)]);
    const pointed = points[this.#at];
    const at = pointed === undefined ? 0 : x(pointed.atSeconds);
    this.#place(this.#cursor, pointed === undefined ? undefined : [at, top, at, top + plotHeight]);
    setText(this.#targetNote, target === null ? '' : `target ${format(target)}`);
  }

  #drawGrid(marks: readonly number[], y: (value: number) => number, plotWidth: number): void {
    const { format, spanSeconds } = this.#options;
    const parts: SVGElement[] = [];
    for (const mark of marks) {
      const at = y(mark);
      parts.push(svg('line', { class: 'grid', x1: left, x2: left + plotWidth, y1: at, y2: at }));
      const label = svg('text', { x: left - 6, y: at + 4, 'text-anchor': 'end' });
      label.textContent = format(mark);
      parts.push(label);
    }
    const minutes = Math.floor(spanSeconds / 60);
    const every = plotWidth < 70 * minutes ? 2 : 1;
    for (let minute = 0; minute <= minutes; minute += every) {
      const at = left + (1 - (minute * 60) / spanSeconds) * plotWidth;
      const anchor = minute === 0 ? 'end' : minute === minutes ? 'start' : 'middle';
      const label = svg('text', { x: at, y: height - 5, 'text-anchor': anchor });
      label.textContent = minute === 0 ? 'now' : `−${minute} min`;
      parts.push(label);
    }
    this.#grid.replaceChildren(...parts);
  }

  #place(line: SVGLineElement, ends: readonly number[] | undefined): void {
    line.setAttribute('visibility', ends === undefined ? 'hidden' : 'visible');
    ['x1', 'y1', 'x2', 'y2'].forEach((name, index) => {
      line.setAttribute(name, (ends?.[index] ?? 0).toFixed(1));
    });
  }

  #caption(): void {
    const { series, format } = this.#options;
    const last = this.#points.length - 1;
    const index = this.#at < 0 ? last : this.#at;
    const point = this.#points[index];
    const texts = series.map((_, i) => {
      const value = point?.values[i] ?? null;
      return value === null ? '–' : format(value);
    });
    texts.forEach((text, i) => {
      setText(this.#values[i]!, text);
    });
    const secondsAgo = point === undefined ? 0 : Math.round(this.#end() - point.atSeconds);
    setText(this.#time, secondsAgo === 0 ? '' : `${secondsAgo} s ago`);
    const box = this.#box;
    setAttribute(box, 'aria-valuemax', String(Math.max(0, last)));
    setAttribute(box, 'aria-valuenow', String(Math.max(0, index)));
    const spoken = series.map(({ label }, i) => `${label} ${texts[i]}`).join(', ');
    setAttribute(
      box,
      'aria-valuetext',
      `${secondsAgo === 0 ? 'now' : `${secondsAgo} seconds ago`}: ${spoken}`,
    );
  }
}

/** Unbroken runs of a series as `x,y` texts. */
function segments(
  points: readonly ChartPoint[],
  index: number,
  x: (atSeconds: number) => number,
  y: (value: number) => number,
): string[][] {
  const runs: string[][] = [];
  let run: string[] = [];
  for (const point of points) {
    const value = point.values[index] ?? null;
    if (value === null) {
      run = [];
      continue;
    }
    if (run.length === 0) runs.push(run);
    run.push(`${x(point.atSeconds).toFixed(1)},${y(value).toFixed(1)}`);
  }
  // A lone value is no line: give it a width.
  return runs.map((one) =>
    one.length > 1 ? one : [one[0]!, one[0]!.replace(/^[\d.]+/, (at) => String(Number(at) + 1))],
  );
}

/** A small curve without axes: the newest value at the right edge. */
export function drawSpark(host: SVGElement, values: readonly (number | null)[], slots: number): void {
  const highest = Math.max(1e-9, ...values.map((value) => value ?? 0));
  const parts: string[] = [];
  values.forEach((value, index) => {
    if (value === null) return;
    const x = 100 - ((values.length - 1 - index) / (slots - 1)) * 100;
    parts.push(`${x.toFixed(2)},${(34 - (value / highest) * 28).toFixed(2)}`);
  });
  setAttribute(host, 'viewBox', '0 0 100 36');
  setAttribute(host, 'preserveAspectRatio', 'none');
  if (host.childElementCount === 0)
    host.append(svg('path', { class: 'area' }), svg('path', { class: 'curve' }));
  const [area, curve] = host.children;
  const first = parts[0]?.split(',')[0];
  const last = parts.at(-1)?.split(',')[0];
  setAttribute(curve!, 'd', parts.length < 2 ? '' : `M${parts.join('L')}`);
  setAttribute(area!, 'd', parts.length < 2 ? '' : `M${first},36L${parts.join('L')}L${last},36Z`);
}
