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

/**
 * Style that reports build on: colours of text, paper and lines in light and dark (`--ink`, `--quiet`, `--page`, `--card`, `--line`, `--cell`), sections, tiles of
 * figures (`.tiles`), tables that scroll (`.scroll`) and keys of plots (`.key`), from phone width on.
 */
export const reportStyle: string = `
:root{color-scheme:light dark;--ink:#1c2330;--quiet:#5c6675;--page:#f6f7f9;--card:#fff;--line:#dfe3e9;--cell:#e9edf2}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--quiet:#98a3b3;--page:#12161c;--card:#1a2029;--line:#2c3440;--cell:#2a323e}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:1.5rem;line-height:1.25;margin:.1em 0 .3em;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:0 0 .2em}
p{margin:.2em 0 .6em}
.quiet{color:var(--quiet)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px;margin-top:16px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:12px;margin-top:16px}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px}
.tiles b{display:block;font-size:1.25rem;font-weight:600;white-space:nowrap;font-variant-numeric:tabular-nums}
.tiles span{color:var(--quiet);font-size:.85rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 8px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
td:first-child{white-space:normal;min-width:9em}
th{color:var(--quiet);font-weight:500;font-size:.85rem;white-space:normal;vertical-align:bottom}
tr:last-child td{border-bottom:0}
tr.chosen td{font-weight:600}
svg{display:block}
svg text{fill:var(--quiet);font:11px system-ui,sans-serif}
.grid{stroke:var(--line)}.axis{stroke:var(--quiet)}
.key{display:flex;flex-wrap:wrap;gap:4px 16px;color:var(--quiet);font-size:.85rem;margin:.2em 0 .4em}
.key i{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
@media (max-width:640px){main{padding:16px 10px 32px}section{padding:12px}}
`;
