/** A step in the trace-event format that Perfetto and Chrome read. Times in microseconds. */
export interface TimelineEvent {
  readonly name: string;
  readonly ph: 'X' | 'C';
  readonly ts: number;
  readonly dur?: number;
  readonly pid: number;
  readonly tid: number;
  readonly args: Readonly<Record<string, number>>;
}

/** A timeline as the JSON file that https://ui.perfetto.dev opens. */
export function perfettoTrace(events: readonly TimelineEvent[], names: readonly string[] = []): string {
  const metadata = names.map((name, pid) => ({ name: 'process_name', ph: 'M', pid, tid: 0, args: { name } }));
  return JSON.stringify({ displayTimeUnit: 'ms', traceEvents: [...metadata, ...events] });
}
