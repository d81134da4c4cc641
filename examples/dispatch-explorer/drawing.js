const SLOT = 30;
const NODE_GAP = 22;
const TOP = 46;
const WIDTH = 620;
const BAR = 7;
const LABEL = 92;

/** Height of the drawing and the vertical centre of every rank, the same for all columns and modes. */
export function rows({ nodes, ranksPerNode }) {
  const centres = [];
  const boxes = [];
  let y = TOP;
  for (let node = 0; node < nodes; node++) {
    boxes.push({ node, top: y - 6, height: ranksPerNode * SLOT + 12 });
    for (let local = 0; local < ranksPerNode; local++) centres.push(y + local * SLOT + SLOT / 2);
    y += ranksPerNode * SLOT + NODE_GAP;
  }
  return { centres, boxes, height: y };
}

/** Columns of a mode, and the links between them in tokens. */
export function stages(result, mode) {
  const { ranks, ranksPerNode } = result;
  const nodeOf = (rank) => Math.floor(rank / ranksPerNode);
  const { flows, arrivals } = mode;
  const all = [];
  for (let from = 0; from < ranks; from++) {
    for (let to = 0; to < ranks; to++) {
      const tokens = flows[from][to];
      if (tokens === 0) continue;
      const link = from === to ? 'self' : nodeOf(from) === nodeOf(to) ? 'intra' : 'inter';
      all.push({ from, to, tokens, link });
    }
  }
  if (mode.mode === 'direct') {
    return { columns: ['source', 'destination'], links: all.map((link) => ({ ...link, stage: 0 })) };
  }
  const kept = Array.from({ length: ranks }, () => new Set());
  for (const [rank, rowsOfRank] of arrivals.entries()) {
    for (const [source, token] of rowsOfRank) if (nodeOf(source) === nodeOf(rank)) kept[source].add(token);
  }
  const staying = kept.map((tokens, rank) => ({
    from: rank,
    to: rank,
    tokens: tokens.size,
    link: 'stays',
    stage: 0,
  }));
  return {
    columns: ['source', 'forwarder', 'destination'],
    links: [
      ...staying.filter(({ tokens }) => tokens > 0),
      ...all.map((link) => ({ ...link, stage: link.link === 'inter' ? 0 : 1 })),
    ],
  };
}

/** Most tokens at one end of a column, over both modes: the scale of every bar. */
export function busiest(result) {
  let most = 1;
  for (const mode of result.modes) {
    const { links } = stages(result, mode);
    for (const end of ['from', 'to']) {
      const sums = new Map();
      for (const link of links) {
        const key = `${link.stage}.${link[end]}`;
        sums.set(key, (sums.get(key) ?? 0) + link.tokens);
        most = Math.max(most, sums.get(key));
      }
    }
  }
  return most;
}

const names = {
  self: 'inside the rank',
  intra: 'inside the node',
  inter: 'between nodes',
  stays: 'stays on its rank, not a message',
};

/** One mode as SVG: ranks by node in columns, ribbons as wide as the tokens they carry. */
export function drawMode(result, mode, scale) {
  const { centres, boxes, height } = rows(result);
  const { columns, links } = stages(result, mode);
  const left = LABEL;
  const right = WIDTH - LABEL;
  const xs = columns.map((_, column) => left + ((right - left) * column) / (columns.length - 1));
  const used = new Map();
  const place = (stage, end, rank, tokens) => {
    const key = `${stage}.${end}.${rank}`;
    const total = links
      .filter((link) => link.stage === stage && link[end] === rank)
      .reduce((sum, link) => sum + link.tokens, 0);
    const before = used.get(key) ?? 0;
    used.set(key, before + tokens);
    return centres[rank] + (before + tokens / 2 - total / 2) * scale;
  };
  const ribbons = [];
  const ordered = [...links].sort((a, b) => a.stage - b.stage || a.from - b.from || a.to - b.to);
  const ends = new Map(
    ordered.map((link) => [link, { start: place(link.stage, 'from', link.from, link.tokens) }]),
  );
  for (const link of [...ordered].sort((a, b) => a.to - b.to || a.from - b.from)) {
    ends.get(link).end = place(link.stage, 'to', link.to, link.tokens);
  }
  for (const link of ordered) {
    const { start, end } = ends.get(link);
    const [x1, x2] = [xs[link.stage] + BAR, xs[link.stage + 1] - BAR];
    const bend = (x2 - x1) * 0.45;
    const width = Math.max(0.8, link.tokens * scale);
    const path = `M${x1} ${start.toFixed(1)}C${x1 + bend} ${start.toFixed(1)} ${x2 - bend} ${end.toFixed(1)} ${x2} ${end.toFixed(1)}`;
    ribbons.push(
      `<path class="ribbon ${link.link}" data-from="${link.from}" data-to="${link.to}" d="${path}" stroke-width="${width.toFixed(2)}"><title>rank ${link.from} to rank ${link.to}: ${link.tokens} tokens, ${names[link.link]}</title></path>`,
    );
  }
  const bars = xs.flatMap((x, column) =>
    centres.map((y, rank) => {
      const here = links
        .filter(
          (link) =>
            (link.stage === column && link.from === rank) || (link.stage === column - 1 && link.to === rank),
        )
        .reduce(
          (sums, link) => {
            sums[link.stage === column ? 1 : 0] += link.tokens;
            return sums;
          },
          [0, 0],
        );
      const size = Math.max(3, Math.max(...here) * scale);
      return `<rect class="bar" data-rank="${rank}" x="${x - BAR}" y="${(y - size / 2).toFixed(1)}" width="${2 * BAR}" height="${size.toFixed(1)}" rx="2"/>`;
    }),
  );
  const labels = [
    ...centres.map((y, rank) => rankLabel(rank, left - BAR - 6, y, 'end')),
    ...centres.map((y, rank) => rankLabel(rank, right + BAR + 6, y, 'start')),
  ];
  const frames = boxes.map(
    ({ node, top, height: tall }) =>
      `<rect class="node" x="4" y="${top}" width="${WIDTH - 8}" height="${tall}" rx="10"/><text class="node-name" transform="translate(20 ${top + tall / 2}) rotate(-90)">node ${node}</text>`,
  );
  const heads = columns.map(
    (name, column) =>
      `<text class="column" x="${xs[column]}" y="${TOP - 20}" text-anchor="${['start', 'middle', 'end'][columns.length === 2 ? column * 2 : column]}">${name}</text>`,
  );
  const anchors = JSON.stringify({ xs, centres });
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${mode.mode}: tokens from rank to rank" data-mode="${mode.mode}" data-anchors='${anchors}'>
${frames.join('')}
${heads.join('')}
<g class="ribbons" fill="none">${ribbons.join('')}</g>
<g class="bars">${bars.join('')}</g>
<g class="labels">${labels.join('')}</g>
<g class="token" fill="none"></g>
</svg>`;
}

function rankLabel(rank, x, y, anchor) {
  return `<text class="rank" tabindex="0" data-rank="${rank}" x="${x}" y="${y}" text-anchor="${anchor}" dominant-baseline="central">rank ${rank}</text>`;
}

/** Pixels for a token, so that the busiest bar fills its row. */
export function scaleOf(result) {
  return (SLOT - 6) / busiest(result);
}
