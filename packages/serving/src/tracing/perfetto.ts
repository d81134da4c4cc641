import { stepSpans } from '../dashboard/views.js';
import type { StepRecord } from '../embedded/engine-stats.js';
import type { EngineReport } from '../metrics/engine-source.js';
import type { EndedRequest } from '../metrics/request-tracker.js';

/** One event of a trace in the Trace Event Format, times in microseconds. */
export interface TraceEvent {
  readonly ph: 'X' | 'b' | 'e' | 'n' | 'C' | 'M';
  readonly name: string;
  readonly pid: number;
  readonly tid?: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly id?: string;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** A trace that ui.perfetto.dev and chrome://tracing open. */
export interface Trace {
  readonly displayTimeUnit: 'ms';
  readonly traceEvents: readonly TraceEvent[];
}

const requestsPid = 1;

/**
 * The engines' last steps, a track for each stage or micro-batch, and the gateway's last requests, one track each, as a
 * trace for Perfetto. Both are on the monotonic clock of this process. Nothing in it is text of prompts or answers.
 */
export function perfettoTrace(engines: readonly EngineReport[], requests: readonly EndedRequest[]): Trace {
  const events: TraceEvent[] = [name('process_name', requestsPid, undefined, 'requests')];
  for (const request of requests) events.push(...requestEvents(request));
  engines.forEach(({ model, stats }, index) => {
    const pid = requestsPid + 1 + index;
    events.push(name('process_name', pid, undefined, `engine ${model}`));
    events.push(...engineEvents(stats.timeline ?? [], pid));
  });
  return { displayTimeUnit: 'ms', traceEvents: events };
}

function engineEvents(timeline: readonly StepRecord[], pid: number): TraceEvent[] {
  const tracks = new Map<string, number>();
  const events: TraceEvent[] = [];
  const track = (title: string) => {
    const known = tracks.get(title);
    if (known !== undefined) return known;
    tracks.set(title, tracks.size + 1);
    events.push(name('thread_name', pid, tracks.size, title));
    return tracks.size;
  };
  for (const step of timeline) {
    for (const span of stepSpans(step)) {
      const title =
        span.kind === 'transfer'
          ? 'KV hand-over'
          : span.microBatch < 0
            ? span.stage
            : `${span.stage}, micro-batch ${span.microBatch + 1}`;
      events.push({
        ph: 'X',
        name: span.kind,
        cat: 'step',
        pid,
        tid: track(title),
        ts: span.startUs,
        dur: Math.max(0, span.endUs - span.startUs),
        args: {
          step: step.stepId,
          sequences: span.sequences,
          tokens: span.tokens,
          ...(step.fusedSteps > 1 && { fusedSteps: step.fusedSteps }),
        },
      });
    }
    if (step.kind !== 'compute') continue;
    for (const { phase, layer, microBatch, startUs, endUs } of step.phases) {
      // Within the slice of their step, or of its micro-batch.
      const title =
        step.microBatches.length > 1 ? `${step.stage}, micro-batch ${microBatch + 1}` : step.stage;
      const dur = endUs - startUs;
      const args = { layer, microBatch };
      events.push({ ph: 'X', name: phase, cat: 'phase', pid, tid: track(title), ts: startUs, dur, args });
    }
    const args = { prefillTokens: step.prefillTokens, decodeSequences: step.decodeSequences };
    events.push({ ph: 'C', name: `${step.stage} batch`, pid, tid: 0, ts: step.startUs, args });
  }
  return events;
}

/** A request as nested asynchronous slices: all of it, and within it the wait for the first byte and the rest. */
function requestEvents(request: EndedRequest): TraceEvent[] {
  const { received, firstByteUs, endedUs, usage } = request;
  const id = received.requestId;
  const slice = (title: string, fromUs: number, toUs: number, args: Record<string, unknown> = {}) => {
    const common = { name: title, cat: 'request', pid: requestsPid, id } as const;
    return [
      { ...common, ph: 'b', ts: fromUs, args },
      { ...common, ph: 'e', ts: Math.max(fromUs, toUs) },
    ] as const;
  };
  const routes = request.routed.map(({ backend, worker, role, attempt, atUs }) => ({
    ph: 'n' as const,
    name: `${role} to ${worker}`,
    cat: 'request',
    pid: requestsPid,
    id,
    ts: atUs,
    args: { backend, attempt },
  }));
  return [
    ...slice(received.route, received.atUs, endedUs, {
      model: received.model,
      status: request.status,
      outcome: request.outcome,
      ...(request.code !== undefined && { code: request.code }),
      ...(usage !== undefined && {
        promptTokens: usage.promptTokens,
        completionTokens: usage.completionTokens,
        cachedTokens: usage.cachedTokens,
      }),
    }),
    ...routes,
    ...(firstByteUs === undefined
      ? []
      : [...slice('first byte', received.atUs, firstByteUs), ...slice('answer', firstByteUs, endedUs)]),
  ];
}

function name(
  kind: 'process_name' | 'thread_name',
  pid: number,
  tid: number | undefined,
  title: string,
): TraceEvent {
  return { ph: 'M', name: kind, pid, ...(tid !== undefined && { tid }), args: { name: title } };
}
