import { style } from './style.js';
import { escapeHtml } from './text.js';

/** A page that loads and runs nothing. */
export function page(options: { kind: string; title: string; facts: string; body: string }): string {
  const { kind, title, facts, body } = options;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<header>
<p class="quiet">${escapeHtml(kind)}</p>
<h1>${escapeHtml(title)}</h1>
<p class="quiet">${escapeHtml(facts)}</p>
</header>
${body}
</main>
</body>
</html>
`;
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
