import type { PlanEvaluation } from './evaluation.js';
import { frame, plot, round, short, ticks } from './svg.js';

const { width, left, right, top, bottom, height } = frame;

/** Bounds of the colours of a heatmap, as multiples of the layer's mean. */
const heatSteps = [0.5, 0.7, 0.85, 0.95, 1.02, 1.05, 1.1, 1.2, 1.35, 1.6, 2] as const;

/** Load of every GPU in every layer relative to the layer's mean: a path per colour keeps pages small. */
export function heatmap(loads: Float64Array, gpus: number, label: string): string {
  const layers = loads.length / gpus;
  const paths = new Array<string>(heatSteps.length + 2).fill('');
  for (let layer = 0; layer < layers; layer++) {
    const row = loads.subarray(layer * gpus, (layer + 1) * gpus);
    const mean = row.reduce((a, b) => a + b, 0) / gpus;
    for (let gpu = 0; gpu < gpus; ) {
      const colour = colourOf(row[gpu]!, mean);
      const first = gpu;
      while (gpu < gpus && colourOf(row[gpu]!, mean) === colour) gpu++;
      paths[colour] += `M${first} ${layer}h${gpu - first}v1h-${gpu - first}z`;
    }
  }
  const body = paths.map((d, i) => (d === '' ? '' : `<path class="h${i}" d="${d}"/>`)).join('');
  return (
    `<svg class="heat" viewBox="0 0 ${gpus} ${layers}" preserveAspectRatio="none" style="height:${Math.max(90, Math.min(420, layers * 7))}px" ` +
    `role="img" aria-label="${label}">${body}</svg>`
  );
}

function colourOf(load: number, mean: number): number {
  if (mean === 0) return heatSteps.length + 1;
  const ratio = load / mean;
  const index = heatSteps.findIndex((bound) => ratio < bound);
  return index < 0 ? heatSteps.length : index;
}

/** What the colours mean. */
export function heatLegend(): string {
  const cells = heatSteps.map((_, i) => `<i class="h${i}"></i>`).join('');
  return `<p class="legend"><span>half the mean</span>${cells}<i class="h${heatSteps.length}"></i><span>twice</span></p>`;
}

/** Load of each GPU relative to the mean, averaged over layers with tokens. */
export function relativeLoads({ loads, plan }: PlanEvaluation): Float64Array {
  const { gpus } = plan.deployment;
  const sums = new Float64Array(gpus);
  let counted = 0;
  for (let first = 0; first < loads.length; first += gpus) {
    const row = loads.subarray(first, first + gpus);
    const mean = row.reduce((a, b) => a + b, 0) / gpus;
    if (mean === 0) continue;
    counted++;
    for (let g = 0; g < gpus; g++) sums[g]! += row[g]! / mean;
  }
  return sums.map((sum) => (counted === 0 ? 1 : sum / counted));
}

/** Bars of GPUs after, a line before. */
export function gpuPlot(before: PlanEvaluation, after: PlanEvaluation): string {
  const [old, now] = [relativeLoads(before), relativeLoads(after)];
  const gpus = now.length;
  const most = Math.max(1.1, ...old, ...now) * 1.04;
  const y = (value: number) => height - bottom - (value / most) * (height - top - bottom);
  const step = (width - left - right) / gpus;
  const share = gpus > 100 ? 0.86 : 0.7;
  let bars = '';
  let line = '';
  for (let g = 0; g < gpus; g++) {
    const x = left + g * step;
    bars += `M${round(x + (step * (1 - share)) / 2)} ${height - bottom}V${round(y(now[g]!))}h${round(step * share)}V${height - bottom}z`;
    line += `${g === 0 ? 'M' : 'L'}${round(x)} ${round(y(old[g]!))}h${round(step)}`;
  }
  return plot({
    label: 'Load of each GPU relative to the mean, before and after',
    x: {
      ticks: ticks(0, gpus - 1, 8)
        .filter(Number.isInteger)
        .map((g) => ({ at: left + (g + 0.5) * step, text: String(g) })),
      title: 'GPU',
    },
    y: {
      ticks: ticks(0, most, 5).map((value) => ({ at: y(value), text: short(value) })),
      title: 'load / mean',
    },
    marks: `<path class="after" d="${bars}"/><path class="old" d="${line}"/><line class="mean" x1="${left}" x2="${width - right}" y1="${round(y(1))}" y2="${round(y(1))}"/>`,
  });
}

/** Highest load of each layer over the mean: before, after, and the proven bound. */
export function gapPlot(before: PlanEvaluation, after: PlanEvaluation, layerIds: readonly number[]): string {
  const ratio = (e: PlanEvaluation, pick: 'maxLoad' | 'lowerBound') =>
    e.report.layers.map((layer) => (layer.meanLoad > 0 ? layer[pick] / layer.meanLoad : 1));
  const [old, now, bound] = [ratio(before, 'maxLoad'), ratio(after, 'maxLoad'), ratio(after, 'lowerBound')];
  const layers = now.length;
  // Logarithmic, so that a gap of percents is seen beside an imbalance of multiples.
  const most = Math.log(Math.max(1.05, ...old, ...now) * 1.05);
  const y = (value: number) =>
    height - bottom - (Math.log(Math.max(1, value)) / most) * (height - top - bottom - 6);
  const step = (width - left - right) / layers;
  const x = (layer: number) => left + (layer + 0.5) * step;
  const wide = Math.min(step * 0.8, 16);
  const marks = now.map((value, l) => {
    const stem = `<line class="stem" x1="${round(x(l))}" x2="${round(x(l))}" y1="${round(y(old[l]!))}" y2="${round(y(value))}"/>`;
    const tick = `<line class="bound" x1="${round(x(l) - wide / 2)}" x2="${round(x(l) + wide / 2)}" y1="${round(y(bound[l]!))}" y2="${round(y(bound[l]!))}"/>`;
    const dot = (at: number, kind: string) =>
      `<circle class="${kind}" cx="${round(x(l))}" cy="${round(y(at))}" r="3.2"/>`;
    return `<g><title>layer ${layerIds[l]}: ${short(old[l]!)} to ${short(value)}, bound ${short(bound[l]!)}</title>${stem}${dot(old[l]!, 'before')}${tick}${dot(value, 'after')}</g>`;
  });
  const values = [1, 1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50].filter(
    (value) => Math.log(value) <= most,
  );
  const shown = values.filter((value, i) => i === 0 || y(values[i - 1]!) - y(value) >= 13 || value >= 1.1);
  return plot({
    label: 'Highest GPU load of each layer over the mean, before and after, with the proven lower bound',
    x: {
      ticks: ticks(0, layers - 1, 10)
        .filter(Number.isInteger)
        .map((l) => ({ at: x(l), text: String(layerIds[l]) })),
      title: 'layer',
    },
    y: {
      ticks: spaced(shown.map((value) => ({ at: y(value), text: String(value) }))),
      title: 'highest load / mean',
    },
    marks: marks.join(''),
  });
}

/** Labels that do not overlap. */
function spaced(marks: { at: number; text: string }[]): { at: number; text: string }[] {
  const kept: { at: number; text: string }[] = [];
  for (const mark of marks) if (kept.length === 0 || kept.at(-1)!.at - mark.at >= 13) kept.push(mark);
  return kept;
}

/** When each layer receives its experts, layer after layer. */
export function migrationPlot(evaluation: PlanEvaluation, layerIds: readonly number[]): string {
  const { migration } = evaluation;
  if (migration === undefined || migration.seconds === 0) return '';
  const layers = migration.layers.length;
  const rowHeight = Math.max(3, Math.min(14, 300 / layers));
  const tall = top + bottom + layers * rowHeight;
  const milliseconds = migration.seconds * 1000;
  const x = (seconds: number) => left + ((seconds * 1000) / milliseconds) * (width - left - right);
  const marks = migration.layers.map(({ layer, transfers, startSeconds, endSeconds }) => {
    const name = `layer ${layerIds[layer]}: ${transfers} transfers, ${short((endSeconds - startSeconds) * 1000)} ms`;
    const size = Math.max(0.8, x(endSeconds) - x(startSeconds));
    if (transfers === 0) return '';
    return (
      `<rect class="after" x="${round(x(startSeconds))}" y="${round(top + layer * rowHeight + rowHeight * 0.12)}" width="${round(size)}" ` +
      `height="${round(rowHeight * 0.76)}" rx="1"><title>${name}</title></rect>`
    );
  });
  return plot({
    label: 'Migration: when each layer receives its experts',
    height: tall,
    x: {
      ticks: ticks(0, milliseconds, 8).map((ms) => ({ at: x(ms / 1000), text: short(ms) })),
      title: 'milliseconds',
    },
    y: {
      ticks: ticks(0, layers - 1, Math.min(6, layers))
        .filter(Number.isInteger)
        .map((l) => ({ at: top + (l + 0.5) * rowHeight, text: String(layerIds[l]) })),
      title: '',
    },
    marks: marks.join(''),
  });
}
