const WIDTH = 760;
const HEIGHT = 240;
const LEFT = 84;
const BOTTOM = 28;

/** A page with the imbalance over time and the last load of every expert, for both arms. */
export function drawPage(result, options) {
  const { arms } = result;
  const series = [
    { name: 'no bias', kind: 'none', values: arms.none.maxVio },
    { name: 'with bias control', kind: 'bias', values: arms.bias.maxVio },
  ];
  const average = (options.tokens * result.topK) / result.experts;
  // One scale for both charts, so that their bars can be compared.
  const highest = Math.max(average, ...arms.none.counts, ...arms.bias.counts);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Routing balance</title>
<style>
  :root { color-scheme: light dark; --ground: #f6f7f9; --panel: #fff; --text: #16202c; --soft: #5b6673; --edge: #dde2e8;
    --none: #b4471c; --bias: #1667a8; }
  @media (prefers-color-scheme: dark) {
    :root { --ground: #11151c; --panel: #1b2128; --text: #edf0f3; --soft: #9aa5b1; --edge: #2f3740; --none: #f0936a; --bias: #6fb5ee; }
  }
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 800px; margin: 2rem auto; padding: 0 1rem; background: var(--ground); color: var(--text); }
  h1 { font-size: 24px; margin: 0 0 8px; } h2 { font-size: 15px; margin: 0 0 10px; } p { margin: 0; }
  section { background: var(--panel); border: 1px solid var(--edge); border-radius: 10px; padding: 14px 16px; margin: 16px 0; }
  svg { display: block; width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--soft); }
  @media (max-width: 600px) { svg text { font-size: 16px; } }
  .none { stroke: var(--none); fill: var(--none); } .bias { stroke: var(--bias); fill: var(--bias); }
  path { fill: none !important; stroke-width: 1.5; } rect { stroke: none; } .grid { stroke: var(--edge); }
  .key { white-space: nowrap; margin-right: 14px; } .key::before { content: "\\25A0"; margin-right: 6px; } .key.none { color: var(--none); } .key.bias { color: var(--bias); }
</style>
<h1>Routing balance</h1>
<p>${options.tokens} tokens a step choose ${result.topK} of ${result.experts} experts whose popularity is skewed and drifts.</p>
<p><span class="key none">no bias</span> <span class="key bias">with bias control</span></p>
<section>
<h2>MaxVio by step: how far the busiest expert is above the mean</h2>
${drawLines(series, options.freezeAt < options.steps ? options.freezeAt : undefined)}
</section>
<section>
<h2>Tokens per expert in the last step, without and with the bias</h2>
${drawBars(arms.none.counts, 'none', average, highest)}
${drawBars(arms.bias.counts, 'bias', average, highest)}
</section>
</html>
`;
}

function drawLines(series, mark) {
  const steps = series[0].values.length;
  const top = Math.max(0.5, ...series.flatMap(({ values }) => values));
  const x = (step) => LEFT + (step / Math.max(1, steps - 1)) * (WIDTH - LEFT - 8);
  const y = (value) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - 12);
  const paths = series.map(({ kind, name, values }) => {
    const points = values.map((value, step) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join('L');
    return `<path class="${kind}" d="M${points}"><title>${name}</title></path>`;
  });
  const ticks = [0, top / 2, top].map((value) => gridLine(y(value), value.toFixed(1)));
  const frozen =
    mark === undefined
      ? ''
      : `<line class="grid" x1="${x(mark)}" x2="${x(mark)}" y1="12" y2="${HEIGHT - BOTTOM}"/><text x="${x(mark) + 4}" y="20">bias frozen</text>`;
  const label = `<text x="${WIDTH - 8}" y="${HEIGHT - 6}" text-anchor="end">step ${steps - 1}</text>`;
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">${ticks.join('')}${frozen}${paths.join('')}${label}</svg>`;
}

function drawBars(counts, kind, average, top) {
  const height = 140;
  const y = (value) => height - BOTTOM - (value / top) * (height - BOTTOM - 12);
  const step = (WIDTH - LEFT - 8) / counts.length;
  const bars = Array.from(
    counts,
    (count, e) =>
      `<rect class="${kind}" x="${(LEFT + e * step).toFixed(1)}" y="${y(count).toFixed(1)}" width="${(step * 0.8).toFixed(1)}" height="${(height - BOTTOM - y(count)).toFixed(1)}"><title>expert ${e}: ${count}</title></rect>`,
  );
  const label = `<text x="${LEFT}" y="${height - 6}">expert 0 to ${counts.length - 1}</text>`;
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img">${gridLine(y(average), `mean ${average}`)}${bars.join('')}${label}</svg>`;
}

function gridLine(y, text) {
  return `<line class="grid" x1="${LEFT}" x2="${WIDTH - 8}" y1="${y}" y2="${y}"/><text x="${LEFT - 4}" y="${y + 4}" text-anchor="end">${text}</text>`;
}
