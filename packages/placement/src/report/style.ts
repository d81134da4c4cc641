import { reportStyle } from '@moestack/schemas/html';

/** Style of the report: plans, bounds and heat beside what all reports share. */
export const style: string = `${reportStyle}
:root{--after:#1f6feb;--before:#b9c2cf;--bound:#c2410c;--hot:#d03a20;--cold:#3b82c4}
@media (prefers-color-scheme:dark){:root{--after:#5aa2ff;--before:#4d5a6b;--bound:#ff9457;--hot:#ff6b4a;--cold:#4f9be0}}
.tiles{grid-template-columns:repeat(auto-fit,minmax(158px,1fr))}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:16px}
@media (max-width:640px){.pair{grid-template-columns:1fr}}
.pair h3{font-size:.9rem;font-weight:600;margin:.2em 0 .3em}
svg.plot{width:100%;min-width:540px;height:auto}
svg.heat{width:100%;shape-rendering:crispEdges;border-radius:4px}
.before{fill:var(--before)}.after{fill:var(--after)}
.old{fill:none;stroke:var(--ink);stroke-opacity:.55;stroke-width:1.3}
.mean{stroke:var(--bound);stroke-dasharray:4 3}
.stem{stroke:var(--before);stroke-width:1.2}.bound{stroke:var(--bound);stroke-width:2}
.key i.line{height:3px;width:14px;border-radius:0;vertical-align:3px}
.legend{display:flex;align-items:center;gap:2px;font-size:.8rem;color:var(--quiet);margin:.6em 0 0}
.legend i{width:20px;height:10px}.legend span{margin:0 6px}
${heatColours()}
`;

/** Colours around the mean: colder below, hotter above. */
function heatColours(): string {
  const shares = [
    ['cold', 85],
    ['cold', 60],
    ['cold', 35],
    ['cold', 15],
    ['cell', 100],
    ['hot', 14],
    ['hot', 26],
    ['hot', 42],
    ['hot', 58],
    ['hot', 74],
    ['hot', 88],
    ['hot', 100],
  ] as const;
  const rules = shares.map(
    ([name, share], i) =>
      `.h${i}{fill:color-mix(in oklab,var(--${name}) ${share}%,var(--cell));background:color-mix(in oklab,var(--${name}) ${share}%,var(--cell))}`,
  );
  return `${rules.join('\n')}\n.h${shares.length}{fill:none}`;
}
