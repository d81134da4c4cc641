import { escapeHtml, htmlPage } from '@moestack/schemas/html';
import { style } from './style.js';

/** A report: `body` is HTML below its heading. */
export function page(options: { kind: string; title: string; facts: string; body: string }): string {
  const { kind, title, facts, body } = options;
  const header = `<header>
<p class="quiet">${escapeHtml(kind)}</p>
<h1>${escapeHtml(title)}</h1>
<p class="quiet">${escapeHtml(facts)}</p>
</header>`;
  return htmlPage({ title, style, body: `${header}\n${body}` });
}

/** Figures that are read first. */
export function tiles(
  values: readonly (readonly [value: string, label: string, mood?: 'good' | 'bad'])[],
): string {
  const cells = values.map(
    ([value, label, mood]) =>
      `<div><b${mood === undefined ? '' : ` class="${mood}"`}>${escapeHtml(value)}</b><span>${escapeHtml(label)}</span></div>`,
  );
  return `<div class="tiles">${cells.join('')}</div>`;
}

/** A part of the page; `body` is HTML. */
export function section(title: string, about: string, body: string): string {
  const words = about === '' ? '' : `<p class="quiet">${escapeHtml(about)}</p>\n`;
  return `<section>\n<h2>${escapeHtml(title)}</h2>\n${words}${body}\n</section>`;
}

/** A table; a title that begins with `<` is of a column of words. The first row can be marked as chosen. */
export function table(titles: readonly string[], rows: readonly (readonly string[])[], chosen = -1): string {
  const words = titles.map((title) => title.startsWith('<'));
  const kind = (column: number) => (words[column] === true && column > 0 ? ' class="words"' : '');
  const head = titles
    .map((title, column) => `<th${kind(column)}>${escapeHtml(title.replace(/^</, ''))}</th>`)
    .join('');
  const body = rows
    .map((row, index) => {
      const cells = row.map((cell, column) => `<td${kind(column)}>${escapeHtml(cell)}</td>`).join('');
      return `<tr${index === chosen ? ' class="chosen"' : ''}>${cells}</tr>`;
    })
    .join('\n');
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>\n${body}\n</tbody></table></div>`;
}
