import { readFileSync } from 'node:fs';
import { h800Normal } from '@moestack/collectives/cost';
import { drawMode, scaleOf } from './drawing.js';
import { comparison, formatBytes, formatMicroseconds, summaryRows } from './text.js';

const asset = (name) => readFileSync(new URL(`assets/${name}`, import.meta.url), 'utf8');

const MAX_TOKENS_SHOWN = 256;

const titles = {
  direct: ['Direct', 'One message for each distinct (token, rank), straight from its source.'],
  hierarchical: [
    'Hierarchical',
    'Once to each other node, to the rank with the same local index, which hands it on inside its node.',
  ],
};

/** A page without outside references that draws and tabulates an exploration. */
export function renderPage(result) {
  const { nodes, ranksPerNode, ranks, experts, topK, tokens, hidden, payload, modes } = result;
  const scale = scaleOf(result);
  const [direct, hierarchical] = modes;
  const [before, after] = [direct, hierarchical].map(({ report }) => report.dispatch.total.inter.bytes);
  const saving =
    before === 0
      ? 'nothing crosses nodes'
      : `${(before / Math.max(1, after)).toFixed(2)}x less between nodes`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Who sends what to whom: ${tokens} tokens on ${ranks} ranks</title>
<style>${asset('page.css')}</style>
</head>
<body>
<header>
<h1>Who sends what to whom</h1>
<p>${tokens} tokens, top-${topK} of ${experts} experts, on ${plural(nodes, 'node')} of ${plural(ranksPerNode, 'rank')} with ${plural(experts / ranks, 'expert')} each; rows of ${hidden} channels in ${payload.toUpperCase()}. Counted by the transports of real dispatchers as messages moved.</p>
</header>
<section class="cards">
${card(
  'between nodes',
  modes.map((mode) => formatBytes(mode.report.dispatch.total.inter.bytes)),
  saving,
)}
${card(
  'inside nodes',
  modes.map((mode) => formatBytes(mode.report.dispatch.total.intra.bytes)),
  'the price: NVLink instead of network',
)}
${card(
  'predicted dispatch, H800',
  modes.map((mode) => formatMicroseconds(mode.seconds.dispatch)),
  'busiest rank, alpha-beta',
)}
</section>
<section class="tools">
<div class="legend"><span class="inter">between nodes</span><span class="intra">inside a node</span><span class="self">inside a rank</span><span class="stays">stays, not a message</span></div>
<form class="pick" hidden>
<label>token of rank <select name="rank">${Array.from({ length: ranks }, (_, rank) => `<option>${rank}</option>`).join('')}</select></label>
<label>number <select name="token"></select></label>
<button type="button" name="clear">show all</button>
</form>
</section>
<p class="path" role="status">Point at a rank to see its traffic, or pick a token.</p>
<main>
${modes
  .map(
    (mode) => `<section class="panel"><h2>${titles[mode.mode][0]}</h2><p>${titles[mode.mode][1]}</p>
${drawMode(result, mode, scale)}
</section>`,
  )
  .join('\n')}
</main>
<section>
<h2>Totals over all ranks</h2>
<div class="scroll"><table>
<thead><tr><th></th><th>direct</th><th>hierarchical</th><th>hierarchical moves</th></tr></thead>
<tbody>
${summaryRows(result)
  .map(
    ({ label, link, values }) =>
      `<tr${link === undefined ? '' : ` class="${link}"`}><th>${label}</th>${values.map(({ text }) => `<td>${text}</td>`).join('')}<td>${link === undefined ? comparison(values).replace('less', 'faster').replace('more', 'slower') : comparison(values)}</td></tr>`,
  )
  .join('\n')}
</tbody>
</table></div>
<p class="note">A dispatch message has ${direct.report.dispatch.messageBytes} bytes: the row, its source, and ${topK} expert ids and weights; a combine message has ${direct.report.combine.messageBytes}. Exchanging counts first took ${formatBytes(direct.report.controlBytes)} and ${formatBytes(hierarchical.report.controlBytes)}. Predictions use ${gigabytes(h800Normal.inter)} GB/s per network card and ${gigabytes(h800Normal.intra)} GB/s of NVLink, start-up times left out.</p>
</section>
<script type="application/json" id="data">${embed(tokenPaths(result))}</script>
<script>${asset('client.js')}</script>
</body>
</html>
`;
}

const gigabytes = ({ bytesPerSecond }) => bytesPerSecond / 1e9;

function plural(count, word) {
  return `${count} ${word}${count === 1 ? '' : 's'}`;
}

function card(name, [direct, hierarchical], note) {
  return `<div class="card"><h3>${name}</h3><p><b>${direct}</b> direct</p><p><b>${hierarchical}</b> hierarchical</p><small>${note}</small></div>`;
}

/** Of every token: its experts and the ranks where the dispatchers delivered it. */
function tokenPaths({ ranks, ranksPerNode, topK, shards, modes }) {
  const shown = Math.max(1, Math.floor(MAX_TOKENS_SHOWN / Math.ceil(ranks / 16)));
  const tokens = shards.map(({ tokens: count, topkIdx }) =>
    Array.from({ length: Math.min(count, shown) }, (_, token) => ({
      experts: Array.from(topkIdx.subarray(token * topK, (token + 1) * topK)).filter((id) => id >= 0),
      ranks: [],
    })),
  );
  for (const [rank, arrivals] of modes[0].arrivals.entries()) {
    for (const [source, token] of arrivals) tokens[source][token]?.ranks.push(rank);
  }
  return { ranksPerNode, tokens };
}

/** JSON that cannot end the script element. */
function embed(data) {
  return JSON.stringify(data).replaceAll('<', '\\u003c');
}
