// The few shapes that the diagrams are made of. Colours are custom properties with fallbacks: as a picture the light ones, or
// by the media query the dark ones; inlined in the site, those of the theme that was chosen there.

const light = {
  ink: '#1f2937',
  muted: '#5b6472',
  line: '#8a94a3',
  plain: '#f3f4f6',
  blue: '#dbe8ff',
  green: '#d8f3e0',
  orange: '#ffe8cc',
  violet: '#eae2fd',
};
const dark = {
  ink: '#e6e9ee',
  muted: '#a4adba',
  line: '#79828f',
  plain: '#262b33',
  blue: '#1d3a66',
  green: '#1a4a30',
  orange: '#5b3a12',
  violet: '#41306b',
};

const escapeXml = (text) => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
const rule = (colors) =>
  Object.entries(colors)
    .map(([name, value]) => `--diagram-${name}:${value}`)
    .join(';');

/** A drawing of the given size. `title` is what a screen reader says. */
export function drawing({ width, height, title }, ...parts) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" class="diagram" font-family="system-ui, sans-serif" font-size="13">
<title>${escapeXml(title)}</title>
<style>svg.diagram{${rule(light)}}@media (prefers-color-scheme: dark){svg.diagram{${rule(dark)}}}</style>
${parts.flat(Infinity).join('\n')}
</svg>
`;
}

/** Text, by default centred on x; `anchor` `start` begins there. */
export function text(x, y, content, { anchor = 'middle', size = 13, weight = 400, color = 'ink' } = {}) {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" font-size="${size}" font-weight="${weight}" fill="var(--diagram-${color})">${escapeXml(content)}</text>`;
}

/** A box with up to three lines in its middle; the first is bold where there are others. */
export function box(x, y, width, height, lines, color = 'plain') {
  const all = [lines].flat();
  const top = y + height / 2 + 4.5 - (all.length - 1) * 8;
  return [
    `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="6" fill="var(--diagram-${color})" stroke="var(--diagram-line)"/>`,
    ...all.map((line, i) =>
      text(
        x + width / 2,
        top + i * 16,
        line,
        i === 0 ? { weight: all.length > 1 ? 600 : 400 } : { size: 12, color: 'muted' },
      ),
    ),
  ];
}

/** A frame around others, named at its upper left. */
export function frame(x, y, width, height, label) {
  return [
    `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="8" fill="none" stroke="var(--diagram-line)" stroke-dasharray="4 4"/>`,
    text(x + 10, y + 18, label, { anchor: 'start', size: 12, color: 'muted' }),
  ];
}

/** A line through points, with a head at its end. */
export function arrow(points, { label, at, anchor = 'middle', dashed = false } = {}) {
  const [[px, py], [x, y]] = points.slice(-2);
  const length = Math.hypot(x - px, y - py);
  const [ux, uy] = [(x - px) / length, (y - py) / length];
  const wing = (side) =>
    `${(x - 8 * ux - side * 4 * uy).toFixed(1)},${(y - 8 * uy + side * 4 * ux).toFixed(1)}`;
  const path = points.map((point, i) => `${i === 0 ? 'M' : 'L'}${point.join(' ')}`).join(' ');
  return [
    `<path d="${path}" fill="none" stroke="var(--diagram-line)" stroke-width="1.6"${dashed ? ' stroke-dasharray="5 4"' : ''}/>`,
    `<polygon points="${x},${y} ${wing(1)} ${wing(-1)}" fill="var(--diagram-line)"/>`,
    label === undefined ? [] : text(...at, label, { size: 12, color: 'muted', anchor }),
  ];
}
