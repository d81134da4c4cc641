import type { CheckpointInspection, TensorInspection } from '@moestack/schemas';
import { escapeHtml, htmlPage } from '@moestack/schemas/html';
import { binade, bytesText, countText, percent, short } from './inspection-format.js';
import { byError, errorOf, groupTensors, type InspectionGroup } from './inspection-groups.js';
import { codePlot, errorPlot, overviewPlots, tensorPlots } from './inspection-plots.js';
import { inspectionStyle } from './inspection-style.js';

/** Tensors shown with plots, and in the report at all: beyond, a browser labours. */
const DEFAULT_DETAILS = 200;

/**
 * A {@link CheckpointInspection} as one HTML page: plots as inline SVG, light and dark, no script, nothing loaded.
 *
 * @param options.details - tensors shown one by one, those with the largest error first; default 200.
 */
export function inspectionHtml(report: CheckpointInspection, options: { details?: number } = {}): string {
  const { details = DEFAULT_DETAILS } = options;
  const groups = groupTensors(report);
  const shown = byError(report.tensors)
    .filter(({ values }) => values !== undefined)
    .slice(0, details);
  const omitted = report.tensors.length - shown.length;
  const more =
    omitted === 0
      ? ''
      : `<p class="quiet">${countText(omitted)} tensors of smaller or no error are left out.</p>`;
  const body = `<header>
<p class="quiet">Checkpoint numerics</p>
<h1>${escapeHtml(report.source)}</h1>
${original(report)}
</header>
${figures(report)}
<section class="plots">${errorPlot(report, groups)}${overviewPlots(report)}${codePlot(report)}</section>
<section>
<h2>Roles</h2>
<p class="quiet">Tensors whose names differ in numbers only. Errors are relative Frobenius norms. ${explain(report)}</p>
<div class="scroll">${groupTable(groups)}</div>
</section>
<section>
<h2>Tensors, largest error first</h2>
${shown.map((tensor) => tensorDetails(tensor)).join('\n')}
${more}
</section>`;
  return htmlPage({ title: `Numerics of ${report.source}`, style: inspectionStyle, body });
}

function original(report: CheckpointInspection): string {
  return report.original === undefined ? '' : `<p>against <code>${escapeHtml(report.original)}</code></p>`;
}

function explain({ tensors, scheme, original: name }: CheckpointInspection): string {
  const kinds = new Set(tensors.map((tensor) => errorOf(tensor)?.kind));
  const sentences: string[] = [];
  if (kinds.has('measured')) sentences.push(`Measured: against ${name}.`);
  if (kinds.has('if quantised')) {
    const { format, tile, scale } = scheme;
    sentences.push(`If quantised: to ${format}, ${scale} scales of ${tile.join(' x ')} blocks.`);
  }
  if (kinds.has('expected')) {
    sentences.push(
      'Expected: of the stored codes, if originals were uniform within their rounding interval.',
    );
  }
  return escapeHtml(sentences.join(' '));
}

function figures({ totals, quantization, tensors }: CheckpointInspection): string {
  const count = (pick: (tensor: TensorInspection) => number | undefined): number =>
    tensors.reduce((sum, tensor) => sum + (pick(tensor) ?? 0), 0);
  const nonFinite = count(({ values }) => values && values.nans + values.infinities);
  const invalid = count(({ scales }) => scales?.invalid);
  const items: [string, string][] = [
    ['tensors', countText(totals.tensors)],
    ['elements', countText(totals.elements)],
    ['bytes', bytesText(totals.bytes)],
    ...Object.entries(totals.bytesByDtype).map(([dtype, bytes]): [string, string] => [
      dtype,
      bytesText(bytes),
    ]),
    ['scale blocks', quantization.block.join(' x ')],
    ['NaN or infinite', countText(nonFinite)],
    ['bad scales', countText(invalid)],
  ];
  const cells = items.map(
    ([name, value]) => `<div><dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd></div>`,
  );
  return `<dl class="figures">${cells.join('')}</dl>`;
}

function groupTable(groups: readonly InspectionGroup[]): string {
  const head = ['role', 'error', 'worst', 'dtype', 'tensors', 'elements', 'magnitudes'];
  const rows = groups.map(({ pattern, dtypes, tensors, elements, range, error, worst }) => [
    `<code>${escapeHtml(pattern)}</code>`,
    error === undefined ? '' : short(error),
    worst === undefined ? '' : short(worst.error),
    escapeHtml(dtypes),
    countText(tensors.length),
    countText(elements),
    range === undefined ? '' : `${power(range[0])} to ${power(range[1])}`,
  ]);
  return table(head, rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const body = rows.map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join('')}</tr>`);
  return `<table><thead><tr>${head.map((title) => `<th>${title}</th>`).join('')}</tr></thead><tbody>${body.join('')}</tbody></table>`;
}

function tensorDetails(tensor: TensorInspection): string {
  const error = errorOf(tensor);
  const summary =
    error === undefined
      ? ''
      : `<span class="error">${short(error.error)} <small>${error.kind}</small></span>`;
  const shape = tensor.shape.join(' x ') || 'scalar';
  return `<details>
<summary><code>${escapeHtml(tensor.name)}</code><span class="quiet">${escapeHtml(tensor.dtype)} ${shape}</span>${summary}</summary>
<div class="detail">
<dl class="facts">${facts(tensor)
    .map(([name, value]) => `<div><dt>${name}</dt><dd>${value}</dd></div>`)
    .join('')}</dl>
<div class="plots">${tensorPlots(tensor)}</div>
</div>
</details>`;
}

function facts(tensor: TensorInspection): [string, string][] {
  const { elements, codes, expectedError, quantized, against, scales, note } = tensor;
  const values = tensor.values!;
  const rows: [string, string][] = [
    ['file', escapeHtml(tensor.file)],
    ['magnitudes', `${short(values.smallest ?? 0)} to ${short(values.largest)}`],
    ['mean, root mean square', `${short(values.mean)}, ${short(values.rootMeanSquare)}`],
    ['zeros', percent(values.zeros, elements)],
    ['subnormal', percent(values.subnormals, elements)],
    ['at the maximum', percent(values.atMaximum, elements)],
  ];
  if (values.nans + values.infinities > 0) {
    rows.push(['NaN, infinite', `${countText(values.nans)}, ${countText(values.infinities)}`]);
  }
  if (codes !== undefined) rows.push(['information', `${codes.entropyBits.toFixed(2)} bits of a code`]);
  if (scales !== undefined) {
    rows.push(
      ['scales', `${countText(scales.count)} of ${scales.block.join(' x ')}, ${escapeHtml(scales.dtype)}`],
      ['scales from, to', `${short(scales.smallest ?? 0)}, ${short(scales.largest)}`],
      ['powers of two', percent(scales.powersOfTwo, scales.count)],
    );
    if (scales.invalid > 0) rows.push(['bad scales', countText(scales.invalid)]);
  }
  if (expectedError !== undefined) rows.push(['expected error', errorText(expectedError)]);
  for (const [name, loss] of [
    ['if quantised', quantized],
    ['measured', against],
  ] as const) {
    if (loss === undefined) continue;
    rows.push(
      [`${name}: error`, errorText(loss)],
      [`${name}: largest`, short(loss.largestError)],
      [`${name}: lost to zero`, percent(loss.underflows, elements)],
      [`${name}: cut`, percent(loss.saturations, elements)],
    );
    if (loss !== quantized) continue;
    rows.push(
      [`${name}: at the maximum`, percent(quantized.atMaximum, elements)],
      [`${name}: subnormal`, percent(quantized.subnormals, elements)],
    );
  }
  if (note !== undefined) rows.push(['note', escapeHtml(note)]);
  return rows;
}

function errorText(error: { relativeError: number; signalToNoiseDb: number | null }): string {
  const { relativeError, signalToNoiseDb } = error;
  return signalToNoiseDb === null ? 'none' : `${short(relativeError)} (${signalToNoiseDb.toFixed(1)} dB)`;
}

function power(value: number): string {
  return binade(value)
    .replace(/\^(.*)/, '<sup>$1</sup>')
    .replace('-', '\u2212');
}
