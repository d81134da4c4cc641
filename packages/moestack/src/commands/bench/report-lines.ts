import type { LatencySummary, LoadReport } from '@moestack/schemas';
import { textTable } from '../../text-table.js';

/** The latencies of a report by name, in order. */
export function latencyRows(
  report: LoadReport,
): readonly (readonly [name: string, summary: LatencySummary])[] {
  const { ttftSeconds, tpotSeconds, interTokenSeconds, e2eSeconds, sendDelaySeconds } = report.latency;
  const named = [
    ['TTFT', ttftSeconds],
    ['TPOT', tpotSeconds],
    ['ITL', interTokenSeconds],
    ['end to end', e2eSeconds],
    ['client delay', sendDelaySeconds],
  ] as const;
  return named.flatMap(([name, summary]) => (summary === undefined ? [] : [[name, summary] as const]));
}

/** A report for people at a terminal. */
export function reportLines(report: LoadReport): string[] {
  const { requests, throughput, target, workload } = report;
  const rows = latencyRows(report).map(([name, summary]) => [
    name,
    ...[summary.mean, summary.p50, summary.p90, summary.p95, summary.p99, summary.maximum].map(seconds),
  ]);
  const arrivals =
    workload.arrivals === 'closed' ? `${workload.concurrency ?? '?'} at once` : 'by their arrival times';
  return [
    `${target.model} at ${target.url}, ${target.endpoint}: ${workload.requests} requests of ${workload.trace}, ${arrivals}`,
    `${requests.completed} completed, ${requests.rejected} rejected, ${requests.failed} failed, ${requests.timeout} timed out, ${requests.aborted} aborted in ${report.durationSeconds.toFixed(1)} s`,
    `${throughput.requestsPerSecond.toFixed(2)} requests/s, ${throughput.promptTokensPerSecond.toFixed(0)} prompt tokens/s, ${throughput.completionTokensPerSecond.toFixed(0)} generated tokens/s`,
    ...(report.attainment === undefined ? [] : [attainmentLine(report, report.attainment)]),
    '',
    ...textTable(['<latency', 'mean', 'p50', 'p90', 'p95', 'p99', 'max'], rows),
    ...report.errors.map(
      ({ kind, status, code, count, example }) =>
        `${count} x ${[kind, status, code].filter((part) => part !== undefined).join(' ')}: ${example}`,
    ),
  ];
}

function attainmentLine(
  { throughput }: LoadReport,
  { all, ttft, tpot }: NonNullable<LoadReport['attainment']>,
): string {
  const goodput = `${throughput.goodputRequestsPerSecond.toFixed(2)} requests/s, ${throughput.goodputTokensPerSecond.toFixed(0)} tokens/s`;
  return `targets met by ${percent(all)} (TTFT ${percent(ttft)}, TPOT ${percent(tpot)}); goodput ${goodput}`;
}

/** A time of any size with its unit. */
export function seconds(value: number): string {
  if (value === 0) return '0 ms';
  if (value >= 10) return `${value.toFixed(1)} s`;
  if (value >= 1) return `${value.toFixed(2)} s`;
  return `${(value * 1000).toFixed(value >= 0.1 ? 0 : value >= 0.01 ? 1 : 2)} ms`;
}

function percent(value: number): string {
  return `${(value * 100).toFixed(1)} %`;
}
