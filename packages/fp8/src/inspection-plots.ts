import type { BinadeHistogram, CheckpointInspection, TensorInspection } from '@moestack/schemas';
import { escapeHtml } from '@moestack/schemas/html';
import { decodeTable } from './decode.js';
import { type FormatName, formats } from './format-spec.js';
import { short } from './inspection-format.js';
import { errorOf, type InspectionGroup } from './inspection-groups.js';
import { barPlot, type PointSeries, pointPlot } from './inspection-svg.js';

/** Roles told apart by colour in the error plot. */
const COLOURED_ROLES = 7;
/** Fewer scales than these are no distribution. */
const FEWEST_SCALES = 8;
/** Most points of the error plot; beyond, every n-th tensor of a role is drawn. */
const MAX_POINTS = 3000;

/** Error of every tensor in file order, the largest roles in their own colours. */
export function errorPlot(report: CheckpointInspection, groups: readonly InspectionGroup[]): string {
  const position = new Map(report.tensors.map((tensor, index) => [tensor, index]));
  const every = Math.ceil(report.tensors.length / MAX_POINTS);
  const ranked = groups.filter(({ error = 0 }) => error > 0).sort((a, b) => b.elements - a.elements);
  const series: PointSeries[] = ranked.slice(0, COLOURED_ROLES).map((group) => ({
    name: group.pattern,
    points: pointsOf(group.tensors, position, every),
  }));
  const rest = ranked.slice(COLOURED_ROLES).flatMap(({ tensors }) => tensors);
  if (rest.length > 0) series.push({ name: 'other roles', points: pointsOf(rest, position, every) });
  const plot = pointPlot(
    'relative error of each tensor',
    series,
    report.tensors.length,
    'tensor, in file order; those without error are not drawn',
  );
  if (plot === '') return '';
  const legend = series.map(({ name }, index) => `<li class="series-${index}">${escapeHtml(name)}</li>`);
  return figure('Relative error of each tensor', plot, `<ul class="legend">${legend.join('')}</ul>`);
}

function pointsOf(
  tensors: readonly TensorInspection[],
  position: ReadonlyMap<TensorInspection, number>,
  every: number,
): PointSeries['points'] {
  return tensors
    .filter((_, index) => index % every === 0)
    .map((tensor) => {
      const error = errorOf(tensor);
      const title = `${tensor.name}: ${short(error?.error ?? 0)} ${error?.kind ?? ''}`;
      return { x: position.get(tensor)!, y: error?.error ?? 0, title };
    });
}

/** Magnitudes and scales over the whole checkpoint. */
export function overviewPlots({ tensors }: CheckpointInspection): string {
  const values = sumHistograms(tensors.map((tensor) => tensor.values?.binades));
  const scales = sumHistograms(tensors.map((tensor) => tensor.scales?.binades));
  // Where there are scales, those of the few other tensors would confuse.
  const planned = scales.counts.length > 0 ? [] : tensors.map((tensor) => tensor.quantized?.scales.binades);
  return (
    binadePlot('Magnitudes of all values', values, 'values in [2^n, 2^(n+1)), n') +
    binadePlot('Scales in the checkpoint', scales, 'scales in [2^n, 2^(n+1)), n') +
    binadePlot('Scales that quantising would give', sumHistograms(planned), 'scales in [2^n, 2^(n+1)), n')
  );
}

/** Codes by magnitude over all tensors of the most common narrow format. */
export function codePlot({ tensors }: CheckpointInspection): string {
  const totals = new Map<string, number[]>();
  for (const { codes } of tensors) {
    if (codes === undefined) continue;
    const sum = totals.get(codes.format) ?? new Array<number>(codes.counts.length).fill(0);
    codes.counts.forEach((count, code) => {
      sum[code] = sum[code]! + count;
    });
    totals.set(codes.format, sum);
  }
  const size = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);
  const [largest] = [...totals].sort(([, a], [, b]) => size(b) - size(a));
  return largest === undefined ? '' : magnitudePlot(`Codes, ${largest[0]}`, largest[0], largest[1], false);
}

/** The plots of one tensor. */
export function tensorPlots({ values, codes, scales, quantized }: TensorInspection): string {
  const plots = [binadePlot('Magnitudes', values!.binades, 'values in [2^n, 2^(n+1)), n', true)];
  if (codes !== undefined) plots.push(magnitudePlot('Codes', codes.format, codes.counts, true));
  const used = scales ?? quantized?.scales;
  if (used !== undefined && used.count >= FEWEST_SCALES) {
    const label = scales === undefined ? 'Scales, if quantised' : 'Scales';
    plots.push(binadePlot(label, used.binades, 'scales in [2^n, 2^(n+1)), n', true));
  }
  return plots.join('');
}

function binadePlot(label: string, { first, counts }: BinadeHistogram, axis: string, small = false): string {
  if (counts.length === 0) return '';
  return figure(label, barPlot({ label, counts, tick: (index) => minus(first + index), axis, small }));
}

/** Both signs together, over the values that codes stand for. */
function magnitudePlot(label: string, format: string, counts: readonly number[], small: boolean): string {
  if (!Object.hasOwn(formats, format)) return '';
  const { signBit, maxCode } = formats[format as FormatName];
  const table = decodeTable(format as FormatName);
  const folded = counts
    .slice(0, maxCode + 1)
    .map((count, code) => count + (signBit === 0 ? 0 : (counts[code | signBit] ?? 0)));
  const tick = (code: number): string => short(table[code]!).replace(/\.0+$/, '');
  return figure(
    label,
    barPlot({ label, counts: folded, tick, axis: 'magnitude of the code, unscaled', small }),
  );
}

function sumHistograms(histograms: readonly (BinadeHistogram | undefined)[]): BinadeHistogram {
  let first = Number.POSITIVE_INFINITY;
  let end = Number.NEGATIVE_INFINITY;
  for (const histogram of histograms) {
    if (histogram === undefined || histogram.counts.length === 0) continue;
    first = Math.min(first, histogram.first);
    end = Math.max(end, histogram.first + histogram.counts.length);
  }
  if (end < first) return { first: 0, counts: [] };
  const counts = new Array<number>(end - first).fill(0);
  for (const histogram of histograms) {
    histogram?.counts.forEach((count, index) => {
      const at = histogram.first + index - first;
      counts[at] = counts[at]! + count;
    });
  }
  return { first, counts };
}

function figure(caption: string, plot: string, below = ''): string {
  return `<figure><figcaption>${escapeHtml(caption)}</figcaption>${plot}${below}</figure>`;
}

function minus(value: number): string {
  return String(value).replace('-', '\u2212');
}
