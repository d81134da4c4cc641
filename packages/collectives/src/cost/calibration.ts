import type { DispatchMode } from '../moe/config.js';
import { type DispatchCost, dispatchCost } from './dispatch-cost.js';
import { interpolateLowLatencyUs, type LowLatencyPhase, leaveOneOutErrors } from './interpolation.js';
import { type ClusterLinks, h800LowLatency, h800Normal } from './links.js';
import { deepEpPublished } from './published.js';

/** One published figure beside what the model says. */
export interface CalibrationRow {
  readonly method:
    | 'normal, two rates'
    | 'low latency, alpha-beta'
    | 'low latency, interpolation without the row';
  readonly ranks: number;
  readonly phase: LowLatencyPhase;
  readonly unit: 'GB/s' | 'us';
  readonly published: number;
  readonly predicted: number;
  /** predicted / published - 1. */
  readonly error: number;
  /** What decides the time, or whether the row lies outside the rest of the table. */
  readonly note: string;
}

function price(mode: DispatchMode, ranks: number, tokensPerRank: number, links: ClusterLinks): DispatchCost {
  const { ranksPerNode, hidden, topK, experts, normal } = deepEpPublished;
  return dispatchCost(
    {
      topology: { nodes: ranks / ranksPerNode, ranksPerNode },
      tokensPerRank,
      experts,
      topK,
      ...(mode === 'low-latency' ? {} : { nodeLimit: normal.nodeLimit }),
      hidden,
      payload: 'fp8',
      mode,
    },
    links,
  );
}

/** DeepEP counts elements and scales of a row, without the rest of its message. */
function publishedRowBytes(phase: LowLatencyPhase): number {
  const { hidden } = deepEpPublished;
  return phase === 'dispatch' ? hidden + (4 * hidden) / 128 : 2 * hidden;
}

/** Normal kernels: logical bandwidth from two rates and the exact fan-out. */
export function normalCalibration(links: ClusterLinks = h800Normal): CalibrationRow[] {
  const { normal, ranksPerNode } = deepEpPublished;
  return normal.rows.flatMap((row) =>
    (['dispatch', 'combine'] as const).map((phase) => {
      const cost = price(
        row.ranks === ranksPerNode ? 'direct' : 'hierarchical',
        row.ranks,
        normal.tokensPerRank,
        links,
      );
      const destinations = row.bottleneck === 'nvlink' ? cost.fanout.ranks : cost.fanout.nodes;
      const logical = normal.tokensPerRank * destinations * publishedRowBytes(phase);
      const predicted = logical / cost[phase].seconds / 1e9;
      const published = phase === 'dispatch' ? row.dispatchGBps : row.combineGBps;
      return {
        method: 'normal, two rates' as const,
        ranks: row.ranks,
        phase,
        unit: 'GB/s' as const,
        published,
        predicted,
        error: predicted / published - 1,
        note: `${cost[phase].bottleneck === 'inter' ? 'network' : 'NVLink'} decides`,
      };
    }),
  );
}

/** Low-latency kernels: a start-up time and two rates. */
export function lowLatencyCalibration(links: ClusterLinks = h800LowLatency): CalibrationRow[] {
  const { lowLatency } = deepEpPublished;
  return lowLatency.rows.flatMap((row) =>
    (['dispatch', 'combine'] as const).map((phase) => {
      const cost = price('low-latency', row.ranks, lowLatency.tokensPerRank, links);
      const predicted = cost[phase].seconds * 1e6;
      const published = phase === 'dispatch' ? row.dispatchUs : row.combineUs;
      return {
        method: 'low latency, alpha-beta' as const,
        ranks: row.ranks,
        phase,
        unit: 'us' as const,
        published,
        predicted,
        error: predicted / published - 1,
        note: `${cost[phase].bottleneck === 'inter' ? 'network' : 'NVLink'} takes longer`,
      };
    }),
  );
}

/** Low-latency kernels: each row interpolated from the others. */
export function interpolationCalibration(): CalibrationRow[] {
  const { rows } = deepEpPublished.lowLatency;
  return rows.flatMap((row, index) =>
    (['dispatch', 'combine'] as const).map((phase) => {
      const { error, extrapolated } = leaveOneOutErrors(phase)[index] as ReturnType<
        typeof leaveOneOutErrors
      >[number];
      const published = interpolateLowLatencyUs(row.ranks, phase);
      return {
        method: 'low latency, interpolation without the row' as const,
        ranks: row.ranks,
        phase,
        unit: 'us' as const,
        published,
        predicted: published * (1 + error),
        error,
        note: extrapolated ? 'extrapolated' : 'between neighbours',
      };
    }),
  );
}

/** All calibration rows as a Markdown table, and the largest error of each method. */
export function calibrationTable(): string {
  const rows = [...normalCalibration(), ...lowLatencyCalibration(), ...interpolationCalibration()];
  const lines = [
    '| method | ranks | phase | published | predicted | error | |',
    '|---|---|---|---|---|---|---|',
  ];
  for (const { method, ranks, phase, unit, published, predicted, error, note } of rows) {
    const digits = unit === 'us' ? 0 : 1;
    lines.push(
      `| ${method} | ${ranks} | ${phase} | ${published.toFixed(0)} ${unit} | ${predicted.toFixed(digits)} ${unit} | ${percent(error)} | ${note} |`,
    );
  }
  const worst = new Map<string, number>();
  for (const { method, error } of rows) worst.set(method, Math.max(worst.get(method) ?? 0, Math.abs(error)));
  const summary = [...worst].map(
    ([method, error]) => `${method}: largest error ${(error * 100).toFixed(1)} %`,
  );
  return `${lines.join('\n')}\n\n${summary.join('; ')}.`;
}

function percent(error: number): string {
  return `${error < 0 ? '-' : '+'}${Math.abs(error * 100).toFixed(1)} %`;
}
