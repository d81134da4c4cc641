import type { SpanView } from '../protocol.js';
import { byId, fillRows, setAttribute, setText, svg } from './dom.js';
import { milliseconds, percent } from './format.js';
import { swatch } from './swatch.js';
import { type Lane, laneFigures, lanesOf } from './timeline-figures.js';

const laneHeight = 26;
const axisHeight = 20;
const labelHeight = 15;
const maximumSpans = 600;
/** The newest spans are shown, about this many, and of the last seconds only. */
const shownSpans = 90;
const shownUs = 3e6;

const kinds = {
  prefill: 'Prefill step',
  mixed: 'Mixed step',
  transfer: 'KV hand-over',
  decode: 'Decode step',
} as const;

/** The last steps of the stages, one lane for each stage or micro-batch. */
export class Timeline {
  readonly #host = byId('timeline');
  readonly #svg = svg('svg', { role: 'img', 'aria-label': 'Timeline of steps' });
  readonly #button = byId<HTMLButtonElement>('steps-view');
  #spans: SpanView[] = [];

  constructor() {
    this.#host.append(this.#svg);
    this.#button.addEventListener('click', () => {
      const isTable = this.#button.getAttribute('aria-pressed') !== 'true';
      this.#button.setAttribute('aria-pressed', String(isTable));
      this.#draw();
    });
    new ResizeObserver(() => this.#draw()).observe(this.#host);
  }

  /** Takes new spans. */
  update(spans: readonly SpanView[]): void {
    this.#spans = [...this.#spans, ...spans].slice(-maximumSpans);
    this.#draw();
  }

  #draw(): void {
    const isTable = this.#button.getAttribute('aria-pressed') === 'true';
    const spans = this.#spans;
    byId('steps').hidden = spans.length === 0;
    this.#host.hidden = isTable;
    byId('steps-legend').hidden = isTable;
    byId('steps-table').hidden = !isTable;
    if (spans.length === 0) return;
    const shown = spans.slice(-shownSpans);
    const toUs = Math.max(...shown.map(({ endUs }) => endUs));
    const fromUs = Math.max(toUs - shownUs, Math.min(...shown.map(({ startUs }) => startUs)));
    const visible = spans.filter(({ endUs }) => endUs > fromUs);
    const lanes = lanesOf(visible);
    const figures = laneFigures(lanes, fromUs, toUs);
    const split = visible.some(({ microBatch }) => microBatch >= 0);
    setText(
      byId('steps-note'),
      `The last ${milliseconds((toUs - fromUs) / 1000)}${split ? '; steps that were split show their micro-batches' : ''}.`,
    );
    const busy = figures.map(({ name, busy: share }) => `${name} ${percent(share)} busy`).join(', ');
    setAttribute(this.#svg, 'aria-label', `Timeline of steps: ${busy}`);
    if (isTable) {
      fillRows(
        byId('steps-rows'),
        figures.map((one) => [one.name, String(one.spans), percent(one.busy), percent(one.overlapped)]),
      );
      return;
    }
    this.#drawLanes(
      lanes,
      figures.map(({ busy: share }) => share),
      fromUs,
      toUs,
    );
    this.#drawLegend(new Set(visible.map(({ kind }) => kind)));
  }

  #drawLanes(lanes: readonly Lane[], busy: readonly number[], fromUs: number, toUs: number): void {
    const width = Math.floor(this.#host.clientWidth);
    if (width === 0) return;
    const rowHeight = laneHeight + labelHeight;
    const height = lanes.length * rowHeight + axisHeight;
    const x = (us: number) => ((us - fromUs) / Math.max(1, toUs - fromUs)) * width;
    const parts: SVGElement[] = [];
    lanes.forEach(({ name, spans }, index) => {
      const top = index * rowHeight + labelHeight;
      const label = svg('text', { x: 0, y: top - 4 });
      label.textContent = `${name}, ${percent(busy[index] ?? 0)} busy`;
      parts.push(
        label,
        svg('line', { class: 'grid', x1: 0, x2: width, y1: top + laneHeight, y2: top + laneHeight }),
      );
      for (const span of spans) {
        const start = Math.max(0, x(span.startUs));
        const rect = svg('rect', {
          class: `span k-${span.kind}${span.microBatch === 1 ? ' mb1' : ''}`,
          x: start.toFixed(1),
          y: top + 2,
          width: Math.max(1.5, x(span.endUs) - start).toFixed(1),
          height: laneHeight - 4,
          rx: 3,
        });
        const title = svg('title');
        title.textContent = `${kinds[span.kind]}: ${milliseconds((span.endUs - span.startUs) / 1000)}, ${span.sequences} sequences, ${span.tokens} tokens`;
        rect.append(title);
        parts.push(rect);
      }
    });
    const marks = width < 500 ? 3 : 6;
    for (let mark = 0; mark <= marks; mark++) {
      const label = svg('text', {
        x: (width * mark) / marks,
        y: height - 5,
        'text-anchor': mark === 0 ? 'start' : mark === marks ? 'end' : 'middle',
      });
      label.textContent = milliseconds(((toUs - fromUs) / 1000 / marks) * mark);
      parts.push(label);
    }
    setAttribute(this.#svg, 'viewBox', `0 0 ${width} ${height}`);
    setAttribute(this.#svg, 'height', String(height));
    this.#svg.replaceChildren(...parts);
  }

  #drawLegend(used: ReadonlySet<SpanView['kind']>): void {
    const names = (Object.keys(kinds) as SpanView['kind'][]).filter((kind) => used.has(kind));
    const host = byId('steps-legend');
    if (host.dataset['kinds'] === names.join()) return;
    host.dataset['kinds'] = names.join();
    host.replaceChildren(...names.map((kind) => swatch(`k-${kind}`, kinds[kind])));
  }
}
