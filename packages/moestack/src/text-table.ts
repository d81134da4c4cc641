/**
 * Columns of text, aligned.
 *
 * @param header - titles; one that begins with `<` is aligned to the left, without that sign.
 */
export function textTable(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const titles = header.map((title) => title.replace(/^</, ''));
  const widths = titles.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        header[column]?.startsWith('<') ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
      )
      .join('  ')
      .trimEnd();
  return [line(titles), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)];
}
