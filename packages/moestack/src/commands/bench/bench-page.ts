import type { LoadReport, LoadRequestRow } from '@moestack/schemas';
import { escapeHtml, htmlPage } from '@moestack/schemas/html';
import { cumulative, lineChart } from './bench-charts.js';
import { latencyRows, seconds } from './report-lines.js';

const colors = {
  light: ['#2f6fb7', '#b6501f', '#217a4b', '#7a47a6', '#8f6f00', '#0f7880'],
  dark: ['#6ea8e8', '#f0915f', '#63c68d', '#c29be6', '#e0bb45', '#57c4cc'],
};
const variables = (list: readonly string[]): string => list.map((color, i) => `--c${i}:${color};`).join('');

const style = `
:root{color-scheme:light dark;--page:#f4f6f9;--card:#fff;--ink:#16202c;--quiet:#566373;--edge:#dde3ea;--good:#1d7a48;--bad:#b3261e;${variables(colors.light)}}
@media (prefers-color-scheme:dark){:root{--page:#0f1319;--card:#181e27;--ink:#e7ecf2;--quiet:#9dabba;--edge:#2a3340;--good:#6ccf95;--bad:#ff8a80;${variables(colors.dark)}}}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1120px;margin:0 auto;padding:24px 16px 64px}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:30px 0 8px}p{max-width:80ch;margin:6px 0}
.quiet{color:var(--quiet)}
.cards{display:grid;gap:12px;grid-template-columns:repeat(auto-fit,minmax(160px,1fr));margin-top:16px}
.card,figure,.scroll{background:var(--card);border:1px solid var(--edge);border-radius:10px}
.card{padding:10px 14px}.card p{margin:0}.card .value{font-size:1.5rem;font-weight:650;letter-spacing:-.02em}
.good .value{color:var(--good)}.bad .value{color:var(--bad)}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:12px}
figure{margin:0;padding:10px 12px;min-width:0}figcaption{font-size:.9rem;font-weight:600}
svg{display:block;width:100%;height:auto}svg text{fill:var(--quiet);font:11px system-ui,sans-serif}
.grid{stroke:var(--edge);fill:none}.line{fill:none;stroke:currentColor;stroke-width:1.8;stroke-linejoin:round}
.mark{stroke:currentColor;stroke-dasharray:5 4;fill:none}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:.82rem}.key::before{content:"";display:inline-block;width:14px;height:3px;border-radius:2px;margin-right:6px;vertical-align:middle;background:currentColor}
${colors.light.map((_, i) => `.c${i}{color:var(--c${i})}`).join('')}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.86rem}
th,td{padding:5px 12px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--edge);font-weight:400}
thead th{color:var(--quiet)}td:first-child,th:first-child,.text td,.text th{text-align:left}tr:last-child>*{border-bottom:0}.text td{white-space:normal}`;

/** A page without scripts that shows a load test: figures, latencies, how they spread, what happened second by second. */
export function benchPage(report: LoadReport): string {
  const { target, workload } = report;
  const title = `Load test of ${target.model}`;
  const digest = workload.sha256 === undefined ? '' : ` (SHA-256 ${workload.sha256.slice(0, 16)}…)`;
  const arrivals =
    workload.arrivals === 'closed'
      ? `${workload.concurrency ?? '?'} requests at any time`
      : `arrivals by the clock, times multiplied by ${workload.timeScale.toPrecision(3)}`;
  const body = `<h1>${escapeHtml(title)}</h1>
<p class="quiet">${escapeHtml(`${target.url}, ${target.endpoint}. ${workload.requests} requests of ${workload.trace}${digest}, ${arrivals}, lengths multiplied by ${workload.inputScale} and ${workload.outputScale}, seed ${workload.seed}.`)}</p>
${cards(report)}
<h2>Latency</h2>
${latencyTable(report)}
<p class="quiet">As the client saw it. TTFT: sent to first text. TPOT: mean time between the tokens of a request. ITL: between pieces of text. Client delay: how late the client itself was in sending.</p>
<h2>How latencies spread</h2>
<div class="plots">${distributions(report)}</div>
<h2>Second by second</h2>
<div class="plots">${timeline(report)}</div>
${errorTable(report)}`;
  return htmlPage({ title, style, body });
}

function cards(report: LoadReport): string {
  const { throughput, requests, attainment } = report;
  const card = (name: string, value: string, note: string, className = '') =>
    `<div class="card ${className}"><p class="quiet">${escapeHtml(name)}</p><p class="value">${escapeHtml(value)}</p><p class="quiet">${escapeHtml(note)}</p></div>`;
  const bad = requests.failed + requests.timeout;
  return `<div class="cards">${[
    card(
      'Completed',
      String(requests.completed),
      `of ${requests.sent} sent in ${report.durationSeconds.toFixed(1)} s`,
    ),
    card(
      'Not completed',
      String(requests.sent - requests.completed),
      `${requests.rejected} rejected, ${bad} failed, ${requests.aborted} aborted`,
      bad > 0 ? 'bad' : '',
    ),
    card('Throughput', `${throughput.requestsPerSecond.toFixed(2)} /s`, 'requests'),
    card(
      'Generated',
      `${throughput.completionTokensPerSecond.toFixed(0)} /s`,
      `tokens; ${throughput.promptTokensPerSecond.toFixed(0)} prompt tokens/s`,
    ),
    ...(attainment === undefined
      ? []
      : [
          card(
            'Within targets',
            `${(attainment.all * 100).toFixed(1)} %`,
            `TTFT ${(attainment.ttft * 100).toFixed(1)} %, TPOT ${(attainment.tpot * 100).toFixed(1)} %`,
            attainment.all >= 0.9 ? 'good' : 'bad',
          ),
          card(
            'Goodput',
            `${throughput.goodputRequestsPerSecond.toFixed(2)} /s`,
            `requests; ${throughput.goodputTokensPerSecond.toFixed(0)} tokens/s`,
          ),
        ]),
  ].join('')}</div>`;
}

function latencyTable(report: LoadReport): string {
  const rows = latencyRows(report).map(([name, s]) => {
    const cells = [s.mean, s.minimum, s.p50, s.p90, s.p95, s.p99, s.maximum].map(
      (value) => `<td>${seconds(value)}</td>`,
    );
    return `<tr><th scope="row">${name}</th><td>${s.count}</td>${cells.join('')}</tr>`;
  });
  const heads = ['', 'count', 'mean', 'min', 'p50', 'p90', 'p95', 'p99', 'max'].map(
    (head) => `<th scope="col">${head}</th>`,
  );
  return `<div class="scroll"><table><thead><tr>${heads.join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

function distributions({ rows = [], slo }: LoadReport): string {
  const completed = rows.filter(({ outcome }) => outcome === 'completed');
  const values = (field: 'ttftSeconds' | 'tpotSeconds' | 'e2eSeconds') =>
    completed.map((row: LoadRequestRow) => row[field]).filter((value) => value !== undefined);
  const share = (value: number) => `${Math.round(value * 100)} %`;
  const chart = (title: string, name: string, color: number, all: readonly number[], target?: number) =>
    lineChart({
      title,
      lines: [{ name, color, points: cumulative(all) }],
      xLabel: 'seconds, by powers of ten',
      formatX: seconds,
      formatY: share,
      top: 1,
      logX: true,
      ...(target !== undefined && { marks: [{ x: target, label: `target ${seconds(target)}`, color: 1 }] }),
    });
  return [
    chart('Requests with a first token within', 'TTFT', 0, values('ttftSeconds'), slo?.ttftSeconds),
    chart('Requests with a mean time per token within', 'TPOT', 3, values('tpotSeconds'), slo?.tpotSeconds),
    chart('Requests answered within', 'end to end', 2, values('e2eSeconds')),
    lineChart({
      title: 'Time to first token over the test',
      lines: [
        {
          name: 'TTFT',
          color: 0,
          points: completed.flatMap((row) =>
            row.ttftSeconds === undefined ? [] : [[row.sentSeconds, row.ttftSeconds] as const],
          ),
        },
      ],
      xLabel: 'seconds from the start',
      formatX: (value) => value.toFixed(0),
      formatY: seconds,
    }),
  ].join('');
}

function timeline({ timeline: all }: LoadReport): string {
  const line = (name: string, color: number, pick: (second: LoadReport['timeline'][number]) => number) => ({
    name,
    color,
    points: all.map((second) => [second.second, pick(second)] as const),
  });
  const common = {
    xLabel: 'seconds from the start',
    formatX: (value: number) => value.toFixed(0),
    formatY: (value: number) =>
      value >= 10_000 ? `${(value / 1000).toFixed(0)}k` : String(Number(value.toFixed(1))),
  };
  return [
    lineChart({
      ...common,
      title: 'Requests',
      lines: [
        line('sent', 0, ({ sent }) => sent),
        line('ended', 2, ({ ended }) => ended),
        line('running', 1, ({ running }) => running),
      ],
    }),
    lineChart({
      ...common,
      title: 'Tokens of the requests that ended',
      lines: [line('generated', 0, ({ completionTokens }) => completionTokens)],
    }),
  ].join('');
}

function errorTable({ errors }: LoadReport): string {
  if (errors.length === 0) return '';
  const rows = errors.map(
    ({ kind, status, code, count, example }) =>
      `<tr><td>${count}</td><td>${kind}</td><td>${status ?? ''}</td><td>${escapeHtml(code ?? '')}</td><td>${escapeHtml(example)}</td></tr>`,
  );
  return `<h2>Errors</h2><div class="scroll text"><table><thead><tr><th scope="col">Count</th><th scope="col">Kind</th><th scope="col">Status</th><th scope="col">Code</th><th scope="col">First message</th></tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}
