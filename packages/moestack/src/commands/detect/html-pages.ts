import type { Stratum } from '@moestack/detect';
import { escapeHtml, htmlPage } from '@moestack/schemas/html';
import type { Judged } from './detect-files.js';
import type { DetectorEvaluation, EvaluatedText } from './evaluate.js';
import { percent } from './highlight.js';

const STYLE = `
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #d9d9e0; --paper: #fff; --a: #0b68cb; --human: 145 60% 45%; --ai: 12 85% 55%; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --soft: #b0b4ba; --line: #43484e; --paper: #18191b; --a: #70b8ff; } }
body { font: 15px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; } p, li { max-width: 46rem; } .soft { color: var(--soft); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; } .plots { display: flex; flex-wrap: wrap; gap: 2rem; } figure { margin: 0; } figcaption { color: var(--soft); font-size: .9rem; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; } .frame { fill: none; stroke: var(--line); } .chance { stroke: var(--soft); stroke-dasharray: 3 4; fill: none; }
.curve { stroke: var(--a); stroke-width: 2; fill: none; } .dot { fill: var(--a); } .whisker { stroke: var(--a); stroke-width: 2; }
article { border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; margin: 1rem 0; overflow-wrap: anywhere; }
article .text { white-space: pre-wrap; max-height: 26rem; overflow: auto; margin-top: .6rem; } mark { color: inherit; border-radius: 3px; } .warning { border-left: 3px solid hsl(var(--ai)); padding-left: .7rem; }`;

const MAXIMUM_SHOWN = 20_000;
const MAXIMUM_TEXTS = 40;

/** A page with the plots and tables of an evaluation, without anything from elsewhere. */
export function evaluationPage(evaluation: DetectorEvaluation): string {
  const { name, model, strata, calibration, texts, fpr, wordLengthAuc, labels, warnings } = evaluation;
  const auc = strata.all.auc;
  const table = (title: string, rows: readonly Stratum[]): string =>
    rows.length === 0
      ? ''
      : `<h2>${title}</h2>${strataPlot(rows)}<table><tr><th>texts</th><th>human</th><th>AI</th><th>AUROC</th><th>95 % interval</th><th>TPR at FPR ${fpr}</th></tr>${rows.map(strataRow).join('')}</table>`;
  return page(
    `Detector evaluation: ${name}`,
    `<p class="soft">${escapeHtml(model)}; ${strata.all.humans} human and ${strata.all.ais} AI texts.</p>
${warnings.map((warning) => `<p class="warning">${escapeHtml(warning)}</p>`).join('\n')}
<p>AUROC ${auc?.auc.toFixed(3) ?? 'unknown'}${auc?.logitInterval === undefined ? '' : ` (95 % interval ${auc.logitInterval.low.toFixed(3)} to ${auc.logitInterval.high.toFixed(3)})`}; mean word length alone has ${wordLengthAuc?.toFixed(3) ?? 'unknown'}.${calibration === undefined ? '' : ` Expected calibration error ${calibration.ece.toFixed(3)}.`}</p>
${verdictTable(labels)}
<div class="plots">${rocPlot(evaluation)}${calibration === undefined ? '' : calibrationPlot(calibration.bins)}</div>
${table('By length in words', strata.byLength)}${table('By domain', strata.byDomain)}${table('By generator', strata.byGenerator)}
<h2>Texts that were judged worst</h2>
<p class="soft">Windows are coloured from green (human) to red (AI).</p>
${worst(texts).map(textBlock).join('\n')}`,
  );
}

/** A page with texts coloured by window or span. */
export function textPage(judged: readonly Judged[]): string {
  return page(
    'Detected texts',
    `<p class="soft">Colours go from green (human) over none to red (AI). A verdict is no proof.</p>${judged
      .map(({ file, name, text, verdict, spans }) =>
        article(
          `${escapeHtml(name === undefined ? file : `${file}: ${name}`)}: <strong>${verdict.label}</strong>, ${percent(verdict.probability)} (${percent(verdict.interval[0])} to ${percent(verdict.interval[1])}), ${verdict.words} words. ${escapeHtml(verdict.reasons.map(({ message }) => message).join('; '))}`,
          text,
          spans?.map(({ start, end, verdict: own }) => ({ start, end, probability: own.probability })) ??
            verdict.windows,
        ),
      )
      .join('\n')}`,
  );
}

function page(title: string, body: string): string {
  return htmlPage({ title, style: STYLE, body: `<h1>${escapeHtml(title)}</h1>\n${body}` });
}

const SIDE = 300;
const PAD = 40;

function frame(xTitle: string, yTitle: string, inner: string, caption: string): string {
  const ticks = [0, 0.25, 0.5, 0.75, 1]
    .map(
      (value) =>
        `<text x="${PAD + SIDE * value}" y="${PAD + SIDE + 16}" text-anchor="middle">${value}</text><text x="${PAD - 6}" y="${PAD + SIDE * (1 - value) + 4}" text-anchor="end">${value}</text>`,
    )
    .join('');
  const size = SIDE + 2 * PAD;
  return `<figure><svg width="${size}" height="${size}" viewBox="0 0 ${size} ${size}" role="img" aria-label="${escapeHtml(caption)}"><rect class="frame" x="${PAD}" y="${PAD}" width="${SIDE}" height="${SIDE}"/><path class="chance" d="M${PAD} ${PAD + SIDE}L${PAD + SIDE} ${PAD}"/>${ticks}<text x="${PAD + SIDE / 2}" y="${size - 6}" text-anchor="middle">${xTitle}</text><text transform="translate(10 ${PAD + SIDE / 2}) rotate(-90)" text-anchor="middle">${yTitle}</text>${inner}</svg><figcaption>${escapeHtml(caption)}</figcaption></figure>`;
}

const x = (value: number): string => (PAD + SIDE * value).toFixed(1);
const y = (value: number): string => (PAD + SIDE * (1 - value)).toFixed(1);

function rocPlot({ roc }: DetectorEvaluation): string {
  const points = Array.from(roc.fpr, (fpr, i) => `${x(fpr)} ${y(roc.tpr[i]!)}`);
  return frame(
    'human texts flagged',
    'AI texts flagged',
    `<path class="curve" d="M${points.join('L')}"/>`,
    'ROC curve; the dashed line is chance',
  );
}

function calibrationPlot(bins: NonNullable<DetectorEvaluation['calibration']>['bins']): string {
  const most = Math.max(...bins.map(({ count }) => count));
  const dots = bins
    .map(
      ({ predicted, observed, count }) =>
        `<circle class="dot" cx="${x(predicted)}" cy="${y(observed)}" r="${(3 + 6 * Math.sqrt(count / most)).toFixed(1)}"><title>${count} texts: ${predicted.toFixed(2)} predicted, ${observed.toFixed(2)} observed</title></circle>`,
    )
    .join('');
  const line = bins.map(({ predicted, observed }) => `${x(predicted)} ${y(observed)}`).join('L');
  return frame(
    'predicted probability',
    'share of AI texts',
    `<path class="curve" d="M${line}"/>${dots}`,
    'Calibration; dots are as large as their bins, the dashed line is perfect',
  );
}

/** AUROC with its interval for each stratum. */
function strataPlot(rows: readonly Stratum[]): string {
  const shown = rows.filter(({ auc }) => auc !== undefined);
  if (shown.length === 0) return '';
  const height = 24 * shown.length + 30;
  const at = (value: number): number => 180 + 400 * value;
  const lines = shown
    .map(({ name, auc }, i) => {
      const middle = 24 * i + 18;
      const interval = auc!.logitInterval ?? { low: auc!.auc, high: auc!.auc };
      return `<text x="170" y="${middle + 4}" text-anchor="end">${escapeHtml(name)}</text><line class="whisker" x1="${at(interval.low)}" x2="${at(interval.high)}" y1="${middle}" y2="${middle}"/><circle class="dot" cx="${at(auc!.auc)}" cy="${middle}" r="4"/>`;
    })
    .join('');
  const ticks = [0, 0.5, 1].map(
    (value) => `<text x="${at(value)}" y="${height - 4}" text-anchor="middle">${value}</text>`,
  );
  return `<svg width="640" height="${height}" viewBox="0 0 640 ${height}" role="img" aria-label="AUROC by stratum"><line class="chance" x1="${at(0.5)}" x2="${at(0.5)}" y1="4" y2="${height - 18}"/>${lines}${ticks.join('')}</svg>`;
}

function strataRow({ name, humans, ais, auc, tpr }: Stratum): string {
  const interval = auc?.logitInterval;
  return `<tr><td>${escapeHtml(name)}</td><td>${humans}</td><td>${ais}</td><td>${auc?.auc.toFixed(3) ?? ''}</td><td>${interval === undefined ? '' : `${interval.low.toFixed(3)} to ${interval.high.toFixed(3)}`}</td><td>${tpr?.value.toFixed(3) ?? ''}</td></tr>`;
}

function verdictTable({ human, ai }: DetectorEvaluation['labels']): string {
  if (Object.keys(human).length + Object.keys(ai).length === 0) return '';
  const labels = ['human', 'abstain', 'ai'] as const;
  const cells = (counts: Record<string, number>): string =>
    labels.map((label) => `<td>${counts[label] ?? 0}</td>`).join('');
  return `<table><tr><th>texts by</th><th>called human</th><th>abstained</th><th>called AI</th></tr><tr><td>humans</td>${cells(human)}</tr><tr><td>AI</td>${cells(ai)}</tr></table>`;
}

/** Texts whose probability is farthest from their label. */
function worst(texts: readonly EvaluatedText[]): EvaluatedText[] {
  const error = ({ isAi, verdict }: EvaluatedText): number =>
    verdict === undefined ? 0 : Math.abs(verdict.probability - (isAi ? 1 : 0));
  return texts
    .filter(({ verdict }) => verdict !== undefined)
    .sort((a, b) => error(b) - error(a))
    .slice(0, MAXIMUM_TEXTS);
}

function textBlock({ id, isAi, text, verdict, domain, generator }: EvaluatedText): string {
  const from = [domain, generator].filter((part) => part !== undefined).join(', ');
  return article(
    `${escapeHtml(id)}${from === '' ? '' : ` (${escapeHtml(from)})`}: by ${isAi ? 'AI' : 'a human'}, called <strong>${verdict!.label}</strong>, ${percent(verdict!.probability)}`,
    text,
    verdict!.windows,
  );
}

function article(
  head: string,
  text: string,
  pieces: readonly { readonly start: number; readonly end: number; readonly probability: number }[],
): string {
  let result = '';
  let at = 0;
  for (const { start, end, probability } of pieces) {
    if (start >= MAXIMUM_SHOWN) break;
    const strength = Math.abs(probability - 0.5) * 2;
    const side = probability < 0.5 ? '--human' : '--ai';
    result += `${escapeHtml(text.slice(at, start))}<mark style="background: hsl(var(${side}) / ${(0.35 * strength).toFixed(2)})" title="${percent(probability)}">${escapeHtml(text.slice(start, end))}</mark>`;
    at = end;
  }
  result += escapeHtml(text.slice(at, Math.max(at, MAXIMUM_SHOWN)));
  return `<article><div>${head}</div><div class="text">${result}</div></article>`;
}
