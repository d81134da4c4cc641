import type { PhaseView, StepPhasesView } from '../protocol.js';
import { byId, setAttribute, svg } from './dom.js';
import { milliseconds, percent } from './format.js';
import { swatch } from './swatch.js';
import { phaseShares } from './timeline-figures.js';

const barHeight = 22;
const rowHeight = 44;

/** The phases in the order in which a layer runs them. */
const phaseNames: Readonly<Record<PhaseView['phase'], string>> = {
  attention: 'Attention',
  dispatch: 'Dispatch',
  experts: 'Experts and MLP',
  combine: 'Combine',
};

/** The newest step of each stage that told its phases, drawn over the whole width. */
export class PhaseBars {
  readonly #host = byId('phases');
  readonly #svg = svg('svg', { role: 'img', 'aria-label': 'Phases of a step' });
  readonly #steps = new Map<string, StepPhasesView>();

  constructor() {
    this.#host.append(this.#svg);
    byId('phases-legend').replaceChildren(
      ...Object.entries(phaseNames).map(([phase, name]) => swatch(`k-${phase}`, name)),
    );
    new ResizeObserver(() => this.#draw()).observe(this.#host);
  }

  /** Takes new steps. */
  update(steps: readonly StepPhasesView[]): void {
    for (const step of steps) this.#steps.set(step.stage, step);
    if (steps.length > 0) this.#draw();
  }

  #draw(): void {
    byId('phases-block').hidden = this.#steps.size === 0;
    const width = Math.floor(this.#host.clientWidth);
    if (width === 0) return;
    const steps = [...this.#steps.values()];
    const texts = steps.map(describe);
    setAttribute(this.#svg, 'aria-label', texts.join('. '));
    setAttribute(this.#svg, 'viewBox', `0 0 ${width} ${steps.length * rowHeight}`);
    setAttribute(this.#svg, 'height', String(steps.length * rowHeight));
    this.#svg.replaceChildren(
      ...steps.flatMap((step, row) => {
        const label = svg('text', { x: 0, y: row * rowHeight + 12 });
        label.textContent = texts[row]!;
        return [label, ...bars(step, row * rowHeight + 18, width)];
      }),
    );
  }
}

/** Micro-batches of a step that was split lie below one another. */
function bars({ startUs, endUs, phases }: StepPhasesView, top: number, width: number): SVGElement[] {
  const isSplit = phases.some(({ microBatch }) => microBatch === 1);
  const height = isSplit ? barHeight / 2 : barHeight;
  const x = (us: number) => ((us - startUs) / Math.max(1, endUs - startUs)) * width;
  return phases.map((phase) => {
    const rect = svg('rect', {
      class: `k-${phase.phase}`,
      x: x(phase.startUs).toFixed(1),
      y: top + phase.microBatch * height,
      width: Math.max(0.5, x(phase.endUs) - x(phase.startUs)).toFixed(1),
      height,
    });
    const title = svg('title');
    title.textContent = `${phaseNames[phase.phase]}, layer ${phase.layer}: ${milliseconds((phase.endUs - phase.startUs) / 1000)}`;
    rect.append(title);
    return rect;
  });
}

function describe(step: StepPhasesView): string {
  const shares = phaseShares(step).map(([phase, share]) => `${phaseNames[phase]} ${percent(share)}`);
  return `A step of ${step.stage}, ${milliseconds((step.endUs - step.startUs) / 1000)}: ${shares.join(', ')}`;
}
