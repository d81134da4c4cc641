import { escapeHtml } from './plot.js';

const style = `
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#16202c;--quiet:#5b6878;--edge:#dfe4ea;
--s0:#c4572a;--s1:#b28a00;--s2:#2f6fb7;--s3:#2f8a57;--s4:#7b8794}
@media (prefers-color-scheme:dark){:root{--page:#12161c;--card:#1b2129;--ink:#e6ebf1;--quiet:#98a5b3;--edge:#2e3742;
--s0:#f0915f;--s1:#e0bb45;--s2:#6ea8e8;--s3:#63c68d;--s4:#9aa7b5}}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,sans-serif}
main{max-width:1040px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:36px 0 8px}p{max-width:72ch}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:12px}
.single{max-width:560px}
figure{margin:0;background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:10px;min-width:0}
figcaption{font-size:.88rem;font-weight:600;padding-bottom:4px}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--quiet);font:11.5px system-ui,sans-serif}
.grid{stroke:var(--edge);fill:none}.mark{stroke:var(--ink);stroke-dasharray:5 4;fill:none}
.line{fill:none;stroke-width:2}
ul{list-style:none;display:flex;flex-wrap:wrap;gap:2px 14px;margin:0;padding:4px;font-size:.8rem;color:var(--quiet)}
li::before{content:"";display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:5px}
${[0, 1, 2, 3, 4].map((i) => `.line.s${i}{stroke:var(--s${i})}circle.s${i}{fill:var(--s${i})}li.s${i}::before{background:var(--s${i})}`).join('')}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--edge);border-radius:8px}
table{border-collapse:collapse;width:100%;font-size:.84rem;font-variant-numeric:tabular-nums}
th,td{padding:4px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--edge)}
th{color:var(--quiet);font-weight:500}td:first-child,td:nth-child(2),th:first-child,th:nth-child(2){text-align:left}`;

/** The whole study as one page without scripts. */
export function page({ size, seed, studiedK, plots, meanPlot, table, metrics, located }) {
  const rows = table.map(
    (row) =>
      `<tr><td>${row.distribution}</td><td>${escapeHtml(row.method)}</td>${metrics.map((metric) => `<td>${row[metric].toExponential(1)}</td>`).join('')}</tr>`,
  );
  const found = located.map(({ metric, mean }) =>
    mean === undefined ? `${metric} nowhere between 0 and 2` : `${metric} at mean ${mean.toFixed(2)}`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Accumulation in FP8 matrix products</title><style>${style}</style></head><body><main>
<h1>Accumulation in FP8 matrix products</h1>
<p>${size} &times; ${size} dot products of E4M3 operands with one scale a row, against the exact sum of the same products, so that nothing
but accumulation counts. Hopper keeps 13 bits after the point and cuts what is below; promotion adds its partial sums to a float32 register.
Seed ${seed}.</p>
<h2>Error against K</h2>
<div class="plots">${plots.join('')}</div>
<h2>Where 2 % lies</h2>
<p>The DeepSeek-V3 report (section 3.3.2) names a maximum relative error of nearly 2 % at K = 4096, for two random matrices. Data of mean
zero stay far below that by Frobenius norm, median and against the largest result; the 99th percentile and the maximum of single relative errors are above
it, since cancellation leaves some results near zero. Data of one sign are far above by every metric. Between them 2 % is reached:
${escapeHtml(found.join('; '))} (K = ${studiedK}).</p>
<div class="plots single">${meanPlot}</div>
<h2>Metrics at K = ${studiedK}</h2>
<p>median, p99 and maximum are of errors relative to each exact result; maximumOfLargest is the largest difference over the largest result; bias is
the mean signed error of large results, below zero where magnitudes are lost.</p>
<div class="scroll"><table><thead><tr><th>data</th><th>accumulation</th>${metrics.map((metric) => `<th>${metric}</th>`).join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div>
</main></body></html>
`;
}
