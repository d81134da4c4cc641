const colors = {
  light: ['#2f6fb7', '#c4572a', '#2f8a57', '#8a56b3', '#b28a00', '#13858f', '#b63a66', '#6a7683'],
  dark: ['#6ea8e8', '#f0915f', '#63c68d', '#c29be6', '#e0bb45', '#57c4cc', '#ee82a8', '#9aa7b5'],
};
const variables = (list: readonly string[]): string =>
  list.map((color, index) => `--c${index}:${color};`).join('');

/** Style sheet of the training page; light and dark. */
export const pageStyle: string = `
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#16202c;--quiet:#5b6878;--edge:#dfe4ea;${variables(colors.light)}}
@media (prefers-color-scheme:dark){:root{--page:#12161c;--card:#1b2129;--ink:#e6ebf1;--quiet:#98a5b3;--edge:#2e3742;${variables(colors.dark)}}}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,sans-serif}
main{max-width:1120px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:32px 0 8px}p{max-width:76ch;margin:6px 0}
.quiet{color:var(--quiet)}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:12px}
figure{margin:0;background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:10px;min-width:0}
figcaption{font-size:.88rem;font-weight:600;padding-bottom:4px}
svg{display:block;width:100%;height:auto}svg text{fill:var(--quiet);font:11px system-ui,sans-serif}
.grid{stroke:var(--edge);fill:none}.mark{stroke:var(--ink);stroke-dasharray:5 4;fill:none;opacity:.7}
.line{fill:none;stroke-width:1.6;stroke-linejoin:round}.d1{stroke-dasharray:6 3}.d2{stroke-dasharray:2 3}.d3{stroke-dasharray:8 3 2 3}
ul.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 16px;margin:8px 0;padding:0;font-size:.84rem;color:var(--quiet)}
.legend svg{display:inline-block;width:26px;height:8px;margin-right:6px;vertical-align:middle}
${colors.light.map((_, i) => `.line.c${i}{stroke:var(--c${i})}`).join('')}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--edge);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:.84rem;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--edge)}
th{color:var(--quiet);font-weight:500}td:first-child,th:first-child{text-align:left}
tr:last-child td{border-bottom:0}`;
