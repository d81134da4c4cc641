import { badShape } from '../operands.js';

/** Options of {@link heatmapLines}. */
export interface HeatmapOptions {
  /** Names of the rows; default their index. */
  readonly layerIds?: readonly number[];
  /** Most characters for GPUs; several GPUs share one if there are more. Default 96. */
  readonly columns?: number;
  /** Most lines; several layers share one if there are more. Default 64. */
  readonly rows?: number;
}

/** Upper ends of the levels, as multiples of the layer's mean. */
const levels = [
  { below: 0.9, mark: '·' },
  { below: 1.02, mark: '░' },
  { below: 1.1, mark: '▒' },
  { below: 1.25, mark: '▓' },
  { below: Number.POSITIVE_INFINITY, mark: '█' },
] as const;

/**
 * Load of GPUs as text, a line per layer and a mark per GPU, relative to the mean of the layer; where several share a mark it
 * shows the highest. A layer without tokens is blank.
 *
 * @param loads - [layers, gpus]
 */
export function heatmapLines(loads: Float64Array, gpus: number, options: HeatmapOptions = {}): string[] {
  const layers = loads.length / gpus;
  if (!Number.isInteger(layers) || layers < 1) {
    throw badShape(
      `expected rows of ${gpus} loads, got ${loads.length}`,
      loads.length,
      'pass layers x gpus loads',
    );
  }
  const { layerIds, columns = 96, rows = 64 } = options;
  const perMark = Math.ceil(gpus / columns);
  const perLine = Math.ceil(layers / rows);
  const name = (layer: number) => String(layerIds?.[layer] ?? layer);
  const width = name(layers - 1).length;
  const lines: string[] = [];
  for (let first = 0; first < layers; first += perLine) {
    let marks = '';
    for (let gpu = 0; gpu < gpus; gpu += perMark)
      marks += markOf(loads, gpus, { first, perLine, gpu, perMark });
    const last = Math.min(layers, first + perLine) - 1;
    const [from, to] = [loads.subarray(first * gpus, (last + 1) * gpus), last];
    const worst = worstRatio(from, gpus);
    lines.push(
      `${name(to).padStart(width)} ${marks} ${worst === undefined ? 'no tokens' : worst.toFixed(3)}`,
    );
  }
  const shared = perMark > 1 ? `, ${perMark} GPUs a mark` : '';
  const joined = perLine > 1 ? `, ${perLine} layers a line` : '';
  const legend =
    '· below 0.9 of the mean, ░ even, ▒ from 1.02, ▓ from 1.1, █ from 1.25; at the end: highest / mean';
  return [`layers x GPUs${shared}${joined}: ${legend}`, ...lines];
}

function markOf(
  loads: Float64Array,
  gpus: number,
  { first, perLine, gpu, perMark }: { first: number; perLine: number; gpu: number; perMark: number },
): string {
  let highest = -1;
  for (let layer = first; layer < Math.min(first + perLine, loads.length / gpus); layer++) {
    const row = loads.subarray(layer * gpus, (layer + 1) * gpus);
    const mean = row.reduce((a, b) => a + b, 0) / gpus;
    if (mean === 0) continue;
    for (let g = gpu; g < Math.min(gpus, gpu + perMark); g++) highest = Math.max(highest, row[g]! / mean);
  }
  return highest < 0 ? ' ' : levels.find(({ below }) => highest < below)!.mark;
}

function worstRatio(loads: Float64Array, gpus: number): number | undefined {
  let worst: number | undefined;
  for (let first = 0; first < loads.length; first += gpus) {
    const row = loads.subarray(first, first + gpus);
    const sum = row.reduce((a, b) => a + b, 0);
    if (sum > 0) worst = Math.max(worst ?? 0, (row.reduce((a, b) => Math.max(a, b), 0) * gpus) / sum);
  }
  return worst;
}
