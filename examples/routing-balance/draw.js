const WIDTH = 760;
const HEIGHT = 240;
const LEFT = 64;
const BOTTOM = 24;

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
  :root { color-scheme: light dark; --none: #b4471c; --bias: #1667a8; --line: #8884; }
  @media (prefers-color-scheme: dark) { :root { --none: #f0936a; --bias: #6fb5ee; } }
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 800px; margin: 2rem auto; padding: 0 1rem; }
  svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: currentColor; }
  .none { stroke: var(--none); fill: var(--none); } .bias { stroke: var(--bias); fill: var(--bias); }
  path { fill: none !important; stroke-width: 1.5; } rect { stroke: none; } .grid { stroke: var(--line); }
  .key::before { content: "\\25A0 "; } .key.none { color: var(--none); } .key.bias { color: var(--bias); }
</style>
<h1>Routing balance</h1>
<p>${options.tokens} tokens a step choose ${result.topK} of ${result.experts} experts whose popularity is skewed and drifts.
<span class="key none">no bias</span> &nbsp; <span class="key bias">with bias control</span></p>
<h2>MaxVio by step: how far the busiest expert is above the mean</h2>
${drawLines(series, options.freezeAt < options.steps ? options.freezeAt : undefined)}
<h2>Tokens per expert in the last step, without and with the bias</h2>
${drawBars(arms.none.counts, 'none', average, highest)}
${drawBars(arms.bias.counts, 'bias', average, highest)}
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
