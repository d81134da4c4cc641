const [width, height] = [460, 290];
const margin = { left: 58, right: 12, top: 12, bottom: 40 };
const [plotWidth, plotHeight] = [width - margin.left - margin.right, height - margin.top - margin.bottom];

/**
 * A line plot as SVG, the vertical axis logarithmic.
 *
 * @param {{ title: string, x: string, y: string, series: { name: string, points: [number, number][] }[],
 *   logX?: boolean, line?: { y: number, label: string } }} plot
 */
export function linePlot({ title, x, y, series, logX = false, line }) {
  // A logarithm has no place for an error of zero.
  const points = series.flatMap((entry) => entry.points).filter(([, value]) => value > 0);
  const scale = logX ? Math.log2 : Number;
  const [left, right] = range(points.map(([value]) => scale(value)));
  const values = points.map(([, value]) => Math.log10(value));
  if (line !== undefined) values.push(Math.log10(line.y));
  const low = Math.floor(Math.min(...values));
  const high = Math.max(Math.ceil(Math.max(...values)), low + 1);
  const placeX = (value) => margin.left + (plotWidth * (scale(value) - left)) / (right - left);
  const placeY = (value) => margin.top + (plotHeight * (high - Math.log10(value))) / (high - low);
  let body = '';
  for (let decade = low; decade <= high; decade++) {
    const at = placeY(10 ** decade);
    body += `<path class="grid" d="M${margin.left} ${fixed(at)}h${plotWidth}"/>`;
    body += text(margin.left - 6, at + 4, 'end', `1e${decade}`);
  }
  const ticks = logX ? [...new Set(points.map(([value]) => value))] : [0, 0.5, 1, 1.5, 2];
  for (const tick of ticks)
    body += text(placeX(tick), height - 24, 'middle', tick >= 1024 ? `${tick / 1024}k` : tick);
  body += text(margin.left + plotWidth / 2, height - 6, 'middle', x);
  body += `<text class="label" transform="translate(12 ${margin.top + plotHeight / 2}) rotate(-90)" text-anchor="middle">${escapeHtml(y)}</text>`;
  if (line !== undefined) {
    body += `<path class="mark" d="M${margin.left} ${fixed(placeY(line.y))}h${plotWidth}"/>`;
    body += text(margin.left + 6, placeY(line.y) - 5, 'start', line.label);
  }
  series.forEach(({ name, points: list }, index) => {
    const drawn = list.filter(([, value]) => value > 0);
    const path = drawn
      .map(([a, b], i) => `${i === 0 ? 'M' : 'L'}${fixed(placeX(a))} ${fixed(placeY(b))}`)
      .join('');
    body += `<path class="line s${index}" d="${path}"/>`;
    for (const [a, b] of drawn) {
      const label = `${name}: ${b.toExponential(2)} at ${x} ${a}`;
      body += `<circle class="s${index}" cx="${fixed(placeX(a))}" cy="${fixed(placeY(b))}" r="2.8"><title>${escapeHtml(label)}</title></circle>`;
    }
  });
  const legend = series.map(({ name }, index) => `<li class="s${index}">${escapeHtml(name)}</li>`).join('');
  return `<figure><figcaption>${escapeHtml(title)}</figcaption><svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">${body}</svg><ul>${legend}</ul></figure>`;
}

export function escapeHtml(value) {
  return String(value)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

function range(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low === high ? [low - 1, high + 1] : [low, high];
}

function text(x, y, anchor, content) {
  return `<text x="${fixed(x)}" y="${fixed(y)}" text-anchor="${anchor}">${escapeHtml(content)}</text>`;
}

function fixed(value) {
  return Number(value.toFixed(1));
}
