/** Style of the report: light and dark, from phone width on. */
export const style: string = `
:root{color-scheme:light dark;--ink:#1c2330;--quiet:#5c6675;--page:#f6f7f9;--card:#fff;--line:#dfe3e9;--after:#1f6feb;--before:#b9c2cf;--bound:#c2410c;--hot:#d03a20;--cold:#3b82c4;--cell:#e9edf2}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--quiet:#98a3b3;--page:#12161c;--card:#1a2029;--line:#2c3440;--after:#5aa2ff;--before:#4d5a6b;--bound:#ff9457;--hot:#ff6b4a;--cold:#4f9be0;--cell:#2a323e}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:1.5rem;line-height:1.25;margin:.1em 0 .3em;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:0 0 .2em}
p{margin:.2em 0 .6em}
.quiet{color:var(--quiet)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px;margin-top:16px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(158px,1fr));gap:12px;margin-top:16px}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px}
.tiles b{display:block;font-size:1.25rem;font-weight:600;white-space:nowrap;font-variant-numeric:tabular-nums}
.tiles span{color:var(--quiet);font-size:.85rem}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:16px}
@media (max-width:640px){.pair{grid-template-columns:1fr}main{padding:16px 10px 32px}section{padding:12px}}
.pair h3{font-size:.9rem;font-weight:600;margin:.2em 0 .3em}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
th{color:var(--quiet);font-weight:500;font-size:.85rem}
tr:last-child td{border-bottom:0}
tr.chosen td{font-weight:600}
svg{display:block}
svg.plot{width:100%;min-width:540px;height:auto}
svg.heat{width:100%;shape-rendering:crispEdges;border-radius:4px}
svg text{fill:var(--quiet);font:11px system-ui,sans-serif}
.grid{stroke:var(--line)}.axis{stroke:var(--quiet)}
.before{fill:var(--before)}.after{fill:var(--after)}
.old{fill:none;stroke:var(--ink);stroke-opacity:.55;stroke-width:1.3}
.mean{stroke:var(--bound);stroke-dasharray:4 3}
.stem{stroke:var(--before);stroke-width:1.2}.bound{stroke:var(--bound);stroke-width:2}
.key{display:flex;flex-wrap:wrap;gap:4px 16px;color:var(--quiet);font-size:.85rem;margin:.2em 0 .4em}
.key i{display:inline-block;width:10px;height:10px;border-radius:5px;margin-right:6px}
.key i.line{height:3px;width:14px;border-radius:0;vertical-align:3px}
.legend{display:flex;align-items:center;gap:2px;font-size:.8rem;color:var(--quiet);margin:.6em 0 0}
.legend i{width:20px;height:10px}.legend span{margin:0 6px}
${heatColours()}
`;

/** Colours around the mean: colder below, hotter above. */
function heatColours(): string {
  const shares = [
    ['cold', 85],
    ['cold', 60],
    ['cold', 35],
    ['cold', 15],
    ['cell', 100],
    ['hot', 14],
    ['hot', 26],
    ['hot', 42],
    ['hot', 58],
    ['hot', 74],
    ['hot', 88],
    ['hot', 100],
  ] as const;
  const rules = shares.map(
    ([name, share], i) =>
      `.h${i}{fill:color-mix(in oklab,var(--${name}) ${share}%,var(--cell));background:color-mix(in oklab,var(--${name}) ${share}%,var(--cell))}`,
  );
  return `${rules.join('\n')}\n.h${shares.length}{fill:none}`;
}
