/**
 * Text as it may stand in HTML and in attributes. Control, format and lone surrogate characters, which may hide or turn around what stands beside
 * them, become U+FFFD; line ends and tabs stay.
 */
export function escapeHtml(text: string): string {
  return text
    .replace(/(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}]/gu, '\ufffd')
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A page in light and dark that loads and runs nothing: reports that open anywhere, whatever names they show. */
export function htmlPage(options: {
  /** Text. */
  readonly title: string;
  /** CSS. */
  readonly style: string;
  /** HTML of the page's one `main` element. */
  readonly body: string;
}): string {
  const { title, style, body } = options;
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
${body}
</main>
</body>
</html>
`;
}
