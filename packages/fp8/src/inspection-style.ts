/** Style sheet of reports: system fonts, both colour schemes, one column on a phone. */
export const inspectionStyle: string = `
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#16202c;--quiet:#5b6878;--line:#dfe4ea;--bar:#2f6fb7;
--s0:#2f6fb7;--s1:#c4572a;--s2:#2f8a57;--s3:#8a4fb0;--s4:#b28a00;--s5:#c23b6e;--s6:#1f8f95;--s7:#7b8794}
@media (prefers-color-scheme:dark){:root{--page:#12161c;--card:#1b2129;--ink:#e6ebf1;--quiet:#98a5b3;--line:#2e3742;--bar:#6ea8e8;
--s0:#6ea8e8;--s1:#f0915f;--s2:#63c68d;--s3:#c08ee6;--s4:#e0bb45;--s5:#f07fa8;--s6:#56c5cb;--s7:#9aa7b5}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.5rem;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:40px 0 4px}
p{margin:4px 0}
code{font:0.86em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.quiet{color:var(--quiet);font-size:.9rem}
dl,dd,dt,figure,ul{margin:0;padding:0}
dt{color:var(--quiet);font-size:.78rem}
dd{font-variant-numeric:tabular-nums}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(108px,1fr));gap:8px;margin:20px 0}
.figures div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:8px 12px}
.figures dd{font-size:1rem;font-weight:600;white-space:nowrap}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:12px}
figure{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 10px 6px;min-width:0}
figcaption{font-size:.86rem;font-weight:600;padding:0 4px 4px}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--quiet);font:11px system-ui,-apple-system,"Segoe UI",sans-serif;font-variant-numeric:tabular-nums}
.grid{stroke:var(--line);fill:none}
.bars{fill:var(--bar)}
circle{fill-opacity:.75}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 14px;padding:4px;font-size:.76rem;color:var(--quiet)}
.legend li{overflow-wrap:anywhere}
.legend li::before{content:"";display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:5px;background:currentColor}
${Array.from({ length: 8 }, (_, i) => `.series-${i} circle{fill:var(--s${i})}.legend .series-${i}::before{background:var(--s${i})}`).join('')}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;margin-top:8px}
table{border-collapse:collapse;width:100%;font-size:.84rem;font-variant-numeric:tabular-nums}
th,td{padding:5px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
tr:last-child td{border-bottom:0}
th{color:var(--quiet);font-weight:500;font-size:.78rem}
th:first-child,td:first-child{text-align:left}
td:first-child code{overflow-wrap:normal}
details{background:var(--card);border:1px solid var(--line);border-radius:8px;margin:6px 0}
summary{display:flex;flex-wrap:wrap;gap:0 12px;align-items:baseline;padding:8px 12px;cursor:pointer}
summary code{flex:1 1 280px}
.error{font-variant-numeric:tabular-nums;font-weight:600;min-width:118px;text-align:right}
.error small{font-weight:400;color:var(--quiet)}
.detail{border-top:1px solid var(--line);padding:12px}
.detail figure{border:0;padding:0}
.detail svg text{font-size:15px}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:8px 16px;margin-bottom:12px}
.facts dd{overflow-wrap:anywhere}
.detail .plots{grid-template-columns:repeat(auto-fit,minmax(min(100%,280px),1fr))}
@media (max-width:640px){td:first-child{white-space:normal;min-width:170px}td:first-child code{overflow-wrap:anywhere}}
@media print{body{background:#fff}details,figure{break-inside:avoid}}
`;
