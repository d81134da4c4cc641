const LINKS = [
  ['inter', 'between nodes'],
  ['intra', 'inside nodes'],
  ['self', 'inside ranks'],
];

/** 1234567 -> "1.23 MB" (1 MB = 1e6 bytes). */
export function formatBytes(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 ? 0 : value < 10 ? 2 : value < 100 ? 1 : 0;
  return `${value.toFixed(digits)} ${units[unit]}`;
}

/** 0.0000053 -> "5.3 µs". */
export function formatMicroseconds(seconds) {
  return `${(seconds * 1e6).toFixed(seconds < 1e-4 ? 1 : 0)} µs`;
}

/** Figures of both modes side by side, one row each; shared by the text and the page. */
export function summaryRows({ modes }) {
  const rows = [];
  for (const phase of ['dispatch', 'combine']) {
    for (const [link, name] of LINKS) {
      rows.push({
        label: `${phase}, ${name}`,
        link,
        values: modes.map(({ report }) => {
          const { tokens, bytes } = report[phase].total[link];
          return { tokens, bytes, text: `${tokens} tokens, ${formatBytes(bytes)}` };
        }),
      });
    }
    rows.push({
      label: `${phase}, busiest network card`,
      link: 'inter',
      values: modes.map(({ report }) => {
        const bytes = Math.max(
          ...report[phase].ranks.map(({ sent, received }) =>
            Math.max(sent.inter.bytes, received.inter.bytes),
          ),
        );
        return { bytes, text: formatBytes(bytes) };
      }),
    });
    rows.push({
      label: `${phase}, predicted on H800 nodes`,
      values: modes.map(({ seconds }) => ({
        bytes: seconds[phase],
        text: formatMicroseconds(seconds[phase]),
      })),
    });
  }
  return rows;
}

/** "1.87x less" between two figures, or what else there is to say. */
export function comparison([direct, hierarchical]) {
  if (direct.bytes === hierarchical.bytes) return 'equal';
  if (direct.bytes === 0 || hierarchical.bytes === 0) return '';
  const ratio = direct.bytes / hierarchical.bytes;
  return ratio > 1 ? `${ratio.toFixed(2)}x less` : `${(1 / ratio).toFixed(2)}x more`;
}

function matrix({ flows }) {
  const width = Math.max(3, ...flows.flat().map((count) => String(count).length + 1));
  const header = `  from\\to${flows.map((_, to) => String(to).padStart(width)).join('')}`;
  const lines = flows.map(
    (row, from) =>
      `${String(from).padStart(9)}${row.map((count) => (count === 0 ? '.' : String(count)).padStart(width)).join('')}`,
  );
  return [header, ...lines].join('\n');
}

/** The exploration as text. */
export function formatText(result) {
  const { nodes, ranksPerNode, experts, topK, tokens, hidden, payload, modes } = result;
  const lines = [
    `${tokens} tokens, top-${topK} of ${experts} experts, on ${nodes} nodes of ${ranksPerNode} ranks; rows of ${hidden} channels, ${payload}`,
    '',
    `${''.padEnd(36)}${modes.map(({ mode }) => mode.padEnd(28)).join('')}`.trimEnd(),
  ];
  for (const { label, values } of summaryRows(result)) {
    lines.push(
      `${label.padEnd(36)}${values.map(({ text }) => text.padEnd(28)).join('')}${comparison(values)}`.trimEnd(),
    );
  }
  if (result.ranks <= 16) {
    for (const mode of modes) {
      lines.push('', `${mode.mode}: tokens that a rank sent to each rank in dispatch`, matrix(mode));
    }
  }
  return lines.join('\n');
}
