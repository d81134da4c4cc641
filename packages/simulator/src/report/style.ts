import { reportStyle } from '@moestack/schemas/html';

/** Style of the reports: series, marks and words beside what all reports share. */
export const style: string = `${reportStyle}
:root{--accent:#1f6feb;--good:#18794e;--bad:#c2410c;
--p0:#1f6feb;--p1:#7c5cd6;--p2:#0e9f8e;--p3:#d97706;--p4:#c2417a;--p5:#64748b;--p6:#94a3b8}
@media (prefers-color-scheme:dark){:root{--accent:#5aa2ff;--good:#4cc38a;--bad:#ff9457;
--p0:#5aa2ff;--p1:#a48bf0;--p2:#3cc9b5;--p3:#f0a33a;--p4:#ec6fa6;--p5:#8393a7;--p6:#5f6f83}}
ul{margin:.2em 0;padding-left:1.2em}
.good{color:var(--good)}.bad{color:var(--bad)}
td.words,th.words{text-align:left;white-space:normal;min-width:16em}
svg{width:100%;min-width:520px;height:auto}
svg text.name{fill:var(--ink);font-size:12px}
.curve{fill:none;stroke:var(--accent);stroke-width:2}
.dot{fill:var(--accent)}.dot.out{fill:var(--card);stroke:var(--accent);stroke-width:1.6}
.limit{stroke:var(--bad);stroke-dasharray:4 3}
.s0{fill:var(--p0)}.s1{fill:var(--p1)}.s2{fill:var(--p2)}.s3{fill:var(--p3)}.s4{fill:var(--p4)}.s5{fill:var(--p5)}.s6{fill:var(--p6)}.free{fill:var(--cell)}
${[0, 1, 2, 3, 4, 5, 6].map((index) => `.key i.s${index}{background:var(--p${index})}`).join('')}.key i.free{background:var(--cell)}
`;
