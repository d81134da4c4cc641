import type { PhaseView, SpanView, StepPhasesView } from '../protocol.js';

/** A row of the timeline. */
export interface Lane {
  readonly name: string;
  readonly spans: readonly SpanView[];
}

/** How much of its time a lane was busy, and how much of that others were busy too. */
export interface LaneFigures {
  readonly name: string;
  readonly spans: number;
  readonly busy: number;
  readonly overlapped: number;
}

/** Spans by lane, in order of first appearance in the pipeline: prefill, hand-over, decode. */
export function lanesOf(spans: readonly SpanView[]): Lane[] {
  const lanes = new Map<string, SpanView[]>();
  for (const span of spans) {
    const name = laneName(span);
    const lane = lanes.get(name);
    if (lane === undefined) lanes.set(name, [span]);
    else lane.push(span);
  }
  return [...lanes]
    .map(([name, all]) => ({ name, spans: all }))
    .sort((a, b) => order(a.spans[0]!) - order(b.spans[0]!) || a.name.localeCompare(b.name));
}

/** The lane of a span. */
export function laneName(span: SpanView): string {
  if (span.kind === 'transfer') return 'KV hand-over';
  return span.microBatch < 0 ? span.stage : `${span.stage} · micro-batch ${span.microBatch + 1}`;
}

function order(span: SpanView): number {
  return { prefill: 0, mixed: 0, transfer: 1, decode: 2 }[span.kind];
}

/** Figures of each lane over a stretch of time. */
export function laneFigures(lanes: readonly Lane[], fromUs: number, toUs: number): LaneFigures[] {
  const covered = lanes.map(({ spans }) => union(spans, fromUs, toUs));
  const length = Math.max(1, toUs - fromUs);
  return lanes.map(({ name, spans }, index) => {
    const own = covered[index]!;
    const others = merge(covered.filter((_, other) => other !== index).flat());
    const busyUs = own.reduce((sum, [start, end]) => sum + end - start, 0);
    return {
      name,
      spans: spans.filter((span) => span.endUs > fromUs && span.startUs < toUs).length,
      busy: busyUs / length,
      overlapped: busyUs === 0 ? 0 : common(own, others) / busyUs,
    };
  });
}

/** What part of a step each of its phases took; of a step of two micro-batches, of what both did. */
export function phaseShares({ startUs, endUs, phases }: StepPhasesView): [PhaseView['phase'], number][] {
  const sums = new Map<PhaseView['phase'], number>([
    ['attention', 0],
    ['dispatch', 0],
    ['experts', 0],
    ['combine', 0],
  ]);
  for (const one of phases) sums.set(one.phase, sums.get(one.phase)! + one.endUs - one.startUs);
  const length = Math.max(1, endUs - startUs);
  return [...sums].map(([phase, us]) => [phase, us / length]);
}

type Interval = readonly [startUs: number, endUs: number];

function union(spans: readonly SpanView[], fromUs: number, toUs: number): Interval[] {
  return merge(
    spans.flatMap(({ startUs, endUs }) => {
      const start = Math.max(fromUs, startUs);
      const end = Math.min(toUs, endUs);
      return end > start ? [[start, end] as const] : [];
    }),
  );
}

function merge(intervals: readonly Interval[]): Interval[] {
  const merged: [number, number][] = [];
  for (const [start, end] of [...intervals].sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end);
    else merged.push([start, end]);
  }
  return merged;
}

/** Time that two lists of disjoint, sorted intervals share. */
function common(a: readonly Interval[], b: readonly Interval[]): number {
  let shared = 0;
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const [aStart, aEnd] = a[i]!;
    const [bStart, bEnd] = b[j]!;
    shared += Math.max(0, Math.min(aEnd, bEnd) - Math.max(aStart, bStart));
    if (aEnd < bEnd) i++;
    else j++;
  }
  return shared;
}
