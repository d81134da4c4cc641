import { escapeHtml } from '@moestack/schemas/html';
import { short } from './text.js';

const width = 720;

/** A bar made of parts. */
export interface StackedBar {
  readonly name: string;
  readonly parts: readonly { readonly value: number; readonly label: string; readonly colour: string }[];
}

/** Bars of one scale, a row each, with what they add up to at their end. */
export function stackedBars(
  label: string,
  bars: readonly StackedBar[],
  format: (value: number) => string,
): string {
  const left = 96;
  const right = 84;
  const row = 34;
  const height = bars.length * row + 6;
  const total = ({ parts }: StackedBar) => parts.reduce((sum, { value }) => sum + value, 0);
  const most = Math.max(...bars.map(total), Number.MIN_VALUE);
  const scale = (width - left - right) / most;
  const rows = bars.map((bar, index) => {
    const y = index * row + 5;
    let x = left;
    const cells = bar.parts
      .filter(({ value }) => value > 0)
      .map(({ value, label: part, colour }) => {
        const size = value * scale;
        const title = `<title>${escapeHtml(`${part}: ${format(value)}`)}</title>`;
        const cell = `<rect class="${colour}" x="${round(x)}" y="${y}" width="${round(size)}" height="22">${title}</rect>`;
        x += size;
        return cell;
      });
    const end = `<text x="${round(x + 6)}" y="${y + 15}">${escapeHtml(format(total(bar)))}</text>`;
    return `<text class="name" x="${left - 8}" y="${y + 15}" text-anchor="end">${escapeHtml(bar.name)}</text>${cells.join('')}${end}`;
  });
  return `<div class="scroll"><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(label)}">${rows.join('')}</svg></div>`;
}

/** What the colours of bars mean. */
export function key(parts: readonly { readonly label: string; readonly colour: string }[]): string {
  const items = parts.map(
    ({ label, colour }) => `<span><i class="${colour}"></i>${escapeHtml(label)}</span>`,
  );
  return `<p class="key">${items.join('')}</p>`;
}

/** A point of a curve; `solid` where it keeps the objective. */
export interface CurvePoint {
  readonly x: number;
  readonly y: number;
  readonly solid: boolean;
  readonly title: string;
}

/** A curve over axes that begin at zero, with a vertical limit. */
export function curve(options: {
  label: string;
  points: readonly CurvePoint[];
  xTitle: string;
  yTitle: string;
  limit: { x: number; text: string };
}): string {
  const { label, points, xTitle, yTitle, limit } = options;
  const [left, right, top, bottom, height] = [52, 14, 20, 36, 280];
  const xMost = 1.06 * Math.max(limit.x, ...points.map(({ x }) => x));
  const yMost = 1.08 * Math.max(...points.map(({ y }) => y), Number.MIN_VALUE);
  const x = (value: number) => round(left + (value / xMost) * (width - left - right));
  const y = (value: number) => round(height - bottom - (value / yMost) * (height - top - bottom));
  const lines = ticks(yMost, 5).map(
    (value) =>
      `<line class="grid" x1="${left}" x2="${width - right}" y1="${y(value)}" y2="${y(value)}"/>` +
      `<text x="${left - 6}" y="${y(value) + 4}" text-anchor="end">${short(value)}</text>`,
  );
  const bottoms = ticks(xMost, 8).map(
    (value) =>
      `<text x="${x(value)}" y="${height - bottom + 15}" text-anchor="middle">${short(value)}</text>`,
  );
  const path = points.map((point, index) => `${index === 0 ? 'M' : 'L'}${x(point.x)} ${y(point.y)}`).join('');
  const dots = points.map(
    (point) =>
      `<circle class="dot${point.solid ? '' : ' out'}" cx="${x(point.x)}" cy="${y(point.y)}" r="4.5"><title>${escapeHtml(point.title)}</title></circle>`,
  );
  const mark =
    `<line class="limit" x1="${x(limit.x)}" x2="${x(limit.x)}" y1="${top}" y2="${height - bottom}"/>` +
    `<text x="${x(limit.x) + 5}" y="${top + 8}">${escapeHtml(limit.text)}</text>`;
  return (
    `<div class="scroll"><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(label)}">` +
    `${lines.join('')}${mark}<path class="curve" d="${path}"/>${dots.join('')}` +
    `<line class="axis" x1="${left}" x2="${width - right}" y1="${height - bottom}" y2="${height - bottom}"/>${bottoms.join('')}` +
    `<text x="${(left + width - right) / 2}" y="${height - 6}" text-anchor="middle">${escapeHtml(xTitle)}</text>` +
    `<text x="${left}" y="${top - 8}">${escapeHtml(yTitle)}</text></svg></div>`
  );
}

/** Round values from zero that part a range into about `count` pieces. */
function ticks(most: number, count: number): number[] {
  const raw = most / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw) ?? raw;
  const values: number[] = [];
  for (let i = 0; i * step <= most; i++) values.push(Number((i * step).toPrecision(12)));
  return values;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
