import type { CheckpointInspection, TensorInspection } from '@moestack/schemas';
import { binade, bytesText, countText, percent, short } from './inspection-format.js';
import { byError, errorOf, groupTensors } from './inspection-groups.js';

/** Longest name shown whole. */
const NAME_COLUMNS = 64;

/**
 * A {@link CheckpointInspection} as plain text: roles first, then the tensors with the largest error.
 *
 * @param options.rows - tensors in the second table; default 20.
 */
export function inspectionTable(report: CheckpointInspection, options: { rows?: number } = {}): string {
  const { rows = 20 } = options;
  const { totals, scheme } = report;
  const dtypes = Object.entries(totals.bytesByDtype).map(([dtype, bytes]) => `${dtype} ${bytesText(bytes)}`);
  const lines = [
    `${totals.tensors} tensors, ${countText(totals.elements)} elements, ${bytesText(totals.bytes)} (${dtypes.join(', ')})`,
    '',
    ...groupTable(report),
  ];
  const shown = byError(report.tensors)
    .filter((tensor) => tensor.values !== undefined)
    .slice(0, rows);
  if (shown.length > 0) lines.push('', ...tensorTable(shown));
  const notes = report.tensors.filter(({ note, values }) => note !== undefined && values !== undefined);
  for (const { name, note } of notes.slice(0, rows))
    lines.push('', `note: ${clip(name)}: ${clip(note!, 200)}`);
  const kinds = new Set(report.tensors.map((tensor) => errorOf(tensor)?.kind));
  lines.push('');
  if (kinds.has('measured')) lines.push(`measured: against ${report.original}`);
  if (kinds.has('if quantised')) {
    const { format, tile, scale } = scheme;
    lines.push(`if quantised: to ${format} with ${scale} scales of ${tile.join('x')} blocks`);
  }
  if (kinds.has('expected')) {
    lines.push(
      'expected: rounding error of the stored codes, originals uniform within their rounding interval',
    );
  }
  return `${lines.join('\n')}\n`;
}

function groupTable(report: CheckpointInspection): string[] {
  const rows = groupTensors(report).map((group) => [
    clip(group.pattern),
    group.dtypes,
    String(group.tensors.length),
    countText(group.elements),
    group.range === undefined ? '-' : `${binade(group.range[0])} .. ${binade(group.range[1])}`,
    group.error === undefined ? '-' : short(group.error),
    group.worst === undefined ? '-' : short(group.worst.error),
  ]);
  return align(['role', 'dtype', 'tensors', 'elements', 'magnitudes', 'error', 'worst'], rows, 2);
}

function tensorTable(tensors: readonly TensorInspection[]): string[] {
  const header = ['tensor', 'shape', 'error', '', 'to zero', 'cut', 'at max', 'subnormal', 'zero', 'scales'];
  return align(header, tensors.map(tensorRow), 2);
}

function tensorRow(tensor: TensorInspection): string[] {
  const { elements, values, quantized, against, scales } = tensor;
  const error = errorOf(tensor);
  const lost = against ?? quantized;
  const narrow = quantized ?? values!;
  const used = scales ?? quantized?.scales;
  return [
    clip(tensor.name),
    tensor.shape.join('x') || 'scalar',
    error === undefined ? '-' : short(error.error),
    error?.kind ?? '',
    lost === undefined ? '-' : percent(lost.underflows, elements),
    lost === undefined ? '-' : percent(lost.saturations, elements),
    percent(narrow.atMaximum, elements),
    percent(narrow.subnormals, elements),
    percent(values!.zeros, elements),
    used === undefined ? '-' : `${binade(used.smallest ?? 0)} .. ${binade(used.largest)}`,
  ];
}

/** Text columns to the left, the others to the right. */
function align(header: readonly string[], rows: readonly string[][], textColumns: number): string[] {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]!.length)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        column < textColumns ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd();
  return [line(header), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)];
}

/** Names come from untrusted files: no control characters reach the terminal. */
function clip(text: string, columns: number = NAME_COLUMNS): string {
  const plain = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\u{fffd}');
  return plain.length <= columns ? plain : `${plain.slice(0, columns / 2 - 1)}…${plain.slice(-columns / 2)}`;
}
