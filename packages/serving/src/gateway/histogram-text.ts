import type { HistogramSnapshot } from '../backend.js';

/**
 * A histogram that somebody else counted, in the Prometheus text format (exposition format 0.0.4).
 *
 * @param name - metric name without suffix.
 */
export function histogramText(name: string, help: string, snapshot: HistogramSnapshot): string {
  const lines = [`# HELP ${name} ${help}`, `# TYPE ${name} histogram`];
  snapshot.bounds.forEach((bound, index) => {
    lines.push(`${name}_bucket{le="${bound}"} ${snapshot.counts[index] ?? 0}`);
  });
  lines.push(`${name}_bucket{le="+Inf"} ${snapshot.count}`);
  lines.push(`${name}_sum ${snapshot.sum}`, `${name}_count ${snapshot.count}`, '');
  return lines.join('\n');
}
