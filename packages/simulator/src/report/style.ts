/** Style of the reports: light and dark, from phone width on. */
export const style: string = `
:root{color-scheme:light dark;--ink:#1c2330;--quiet:#5c6675;--page:#f6f7f9;--card:#fff;--line:#dfe3e9;--accent:#1f6feb;--good:#18794e;--bad:#c2410c;--cell:#e9edf2;
--p0:#1f6feb;--p1:#7c5cd6;--p2:#0e9f8e;--p3:#d97706;--p4:#c2417a;--p5:#64748b;--p6:#94a3b8}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--quiet:#98a3b3;--page:#12161c;--card:#1a2029;--line:#2c3440;--accent:#5aa2ff;--good:#4cc38a;--bad:#ff9457;--cell:#2a323e;
--p0:#5aa2ff;--p1:#a48bf0;--p2:#3cc9b5;--p3:#f0a33a;--p4:#ec6fa6;--p5:#8393a7;--p6:#5f6f83}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:1.5rem;line-height:1.25;margin:.1em 0 .3em;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:0 0 .2em}
p{margin:.2em 0 .6em}
ul{margin:.2em 0;padding-left:1.2em}
.quiet{color:var(--quiet)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px;margin-top:16px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:12px;margin-top:16px}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px}
.tiles b{display:block;font-size:1.25rem;font-weight:600;white-space:nowrap;font-variant-numeric:tabular-nums}
.tiles span{color:var(--quiet);font-size:.85rem}
.good{color:var(--good)}.bad{color:var(--bad)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:5px 8px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
td.words,th.words{text-align:left;white-space:normal;min-width:16em}
th{color:var(--quiet);font-weight:500;font-size:.85rem;white-space:normal;vertical-align:bottom}
td:first-child{white-space:normal;min-width:9em}
tr:last-child td{border-bottom:0}
tr.chosen td{font-weight:600}
svg{display:block;width:100%;min-width:520px;height:auto}
svg text{fill:var(--quiet);font:11px system-ui,sans-serif}
svg text.name{fill:var(--ink);font-size:12px}
.grid{stroke:var(--line)}.axis{stroke:var(--quiet)}
.curve{fill:none;stroke:var(--accent);stroke-width:2}
.dot{fill:var(--accent)}.dot.out{fill:var(--card);stroke:var(--accent);stroke-width:1.6}
.limit{stroke:var(--bad);stroke-dasharray:4 3}
.s0{fill:var(--p0)}.s1{fill:var(--p1)}.s2{fill:var(--p2)}.s3{fill:var(--p3)}.s4{fill:var(--p4)}.s5{fill:var(--p5)}.s6{fill:var(--p6)}.free{fill:var(--cell)}
.key{display:flex;flex-wrap:wrap;gap:4px 16px;color:var(--quiet);font-size:.85rem;margin:.2em 0 .4em}
.key i{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
${[0, 1, 2, 3, 4, 5, 6].map((index) => `.key i.s${index}{background:var(--p${index})}`).join('')}.key i.free{background:var(--cell)}
@media (max-width:640px){main{padding:16px 10px 32px}section{padding:12px}}
`;
