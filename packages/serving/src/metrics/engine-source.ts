import type { EngineStats } from '../embedded/engine-stats.js';

/** An engine in this process that reports about itself. */
export interface EngineSource {
  /** Name of its model. */
  readonly model: string;
  stats(): EngineStats | Promise<EngineStats>;
}

/** The figures of an engine at one moment. */
export interface EngineReport {
  readonly model: string;
  readonly stats: EngineStats;
}

/** Asks all engines; one that fails has nothing to report. */
export async function askEngines(sources: readonly EngineSource[]): Promise<EngineReport[]> {
  const settled = await Promise.allSettled(
    sources.map(async (source) => ({ model: source.model, stats: await source.stats() })),
  );
  return settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
}
