import { cpus, totalmem } from 'node:os';
import type { BenchmarkMachine, BenchmarkRatio, BenchmarkReport, BenchmarkRow } from '@moestack/schemas';

/** One thing to time. `run` does one unit of work; `work` says how much that is in `unit` times seconds. */
export interface BenchCase {
  name: string;
  /** Unit of the figure, for example `GFLOP/s`. */
  unit: string;
  /** Work of one call in that unit times seconds: 2*m*n*k/1e9 for GFLOP/s. For `ms` and `us` leave it out: the figure is the time. */
  work?: number;
  run?: () => unknown | Promise<unknown>;
  /**
   * Instead of `run`, where calls from here would distort the time (other threads or processes do the work): resolves to the seconds that one unit
   * of work takes. Called once a round.
   */
  measure?: () => Promise<number>;
}

/** A ratio of the figures of two cases; higher is better unless their unit is a time. */
export interface BenchRatio {
  name: string;
  numerator: string;
  denominator: string;
  aim?: number;
}

/** A set of cases that are timed interleaved, so that a change of machine load hits all of them alike. */
export interface BenchGroup {
  name: string;
  cases: BenchCase[];
  ratios?: BenchRatio[];
  /** Timed rounds; each times every case once, in rotating order. Default 15. */
  rounds?: number;
  /** Least time per timed sample in milliseconds; short cases are repeated within one sample. Default 20. */
  sampleMilliseconds?: number;
}

/** What a `*.bench.ts` file default-exports. */
export interface BenchDefinition {
  name: string;
  /** As an async generator, what a group needs is prepared when its turn has come. */
  groups: () => Promise<BenchGroup[]> | BenchGroup[] | AsyncIterable<BenchGroup>;
  /** Text that belongs beside the figures: thread counts, what a peer does differently. */
  notes?: string[];
  /** Ends what the groups started; called also when one of them failed. */
  close?: () => Promise<void>;
}

/** Declares a benchmark file; see {@link BenchDefinition}. */
export function defineBench(definition: BenchDefinition): BenchDefinition {
  return definition;
}

/** This machine, as it stands in every report. */
export function describeMachine(): BenchmarkMachine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    logicalCores: cpus().length,
    memoryBytes: totalmem(),
    platform: `${process.platform}-${process.arch}`,
    node: process.versions.node,
  };
}

const now = (): number => Number(process.hrtime.bigint()) / 1e9;

async function calibrate(item: BenchCase, sampleSeconds: number): Promise<number> {
  if (item.measure !== undefined) {
    await item.measure();
    return 1;
  }
  await item.run?.();
  const start = now();
  await item.run?.();
  const once = Math.max(now() - start, 1e-7);
  return Math.max(1, Math.ceil(sampleSeconds / once));
}

/** Seconds of one call, of `count`. */
async function time(item: BenchCase, count: number): Promise<number> {
  if (item.measure !== undefined) return await item.measure();
  const start = now();
  for (let call = 0; call < count; call++) {
    const result = item.run?.();
    if (result instanceof Promise) await result;
  }
  return (now() - start) / count;
}

/** Median of numbers; the mean of the middle two for even counts. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** What {@link runGroup} has measured. */
export interface BenchFigures {
  rows: BenchmarkRow[];
  ratios: BenchmarkRatio[];
}

/** Times the cases of a group interleaved and returns rows and ratios. */
export async function runGroup(group: BenchGroup): Promise<BenchFigures> {
  const rounds = group.rounds ?? 15;
  const repeats: number[] = [];
  for (const item of group.cases) repeats.push(await calibrate(item, (group.sampleMilliseconds ?? 20) / 1e3));
  const figures = group.cases.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < group.cases.length; turn++) {
      const index = (turn + round) % group.cases.length;
      const item = group.cases[index]!;
      const count = repeats[index]!;
      const seconds = await time(item, count);
      const scale = item.unit === 'us' ? 1e6 : 1e3;
      figures[index]!.push(item.work === undefined ? seconds * scale : item.work / seconds);
    }
  }
  const rows = group.cases.map((item, index): BenchmarkRow => {
    const values = figures[index]!;
    return {
      name: item.name,
      unit: item.unit,
      median: median(values),
      minimum: Math.min(...values),
      maximum: Math.max(...values),
      rounds,
    };
  });
  const ratios = (group.ratios ?? []).map((ratio): BenchmarkRatio => {
    const top = group.cases.findIndex((item) => item.name === ratio.numerator);
    const bottom = group.cases.findIndex((item) => item.name === ratio.denominator);
    const base = { name: ratio.name, numerator: ratio.numerator, denominator: ratio.denominator };
    const aim = ratio.aim === undefined ? {} : { aim: ratio.aim };
    if (top < 0 || bottom < 0) {
      const missing = top < 0 ? ratio.numerator : ratio.denominator;
      return { ...base, ...aim, median: null, skipped: `${missing} did not run here` };
    }
    return {
      ...base,
      ...aim,
      median: median(figures[top]!.map((value, round) => value / figures[bottom]![round]!)),
    };
  });
  return { rows, ratios };
}

/** Runs a whole definition; `onGroup` is called before each group, `onFigures` after it. */
export async function runBench(
  definition: BenchDefinition,
  progress: { onGroup?: (name: string) => void; onFigures?: (figures: BenchFigures) => void } = {},
): Promise<BenchmarkReport> {
  const report: BenchmarkReport = {
    schemaVersion: 1,
    name: definition.name,
    machine: describeMachine(),
    rows: [],
    ratios: [],
    notes: definition.notes ?? [],
  };
  try {
    for await (const group of await definition.groups()) {
      progress.onGroup?.(group.name);
      const figures = await runGroup(group);
      progress.onFigures?.(figures);
      report.rows.push(...figures.rows);
      report.ratios.push(...figures.ratios);
    }
  } finally {
    await definition.close?.();
  }
  return report;
}
