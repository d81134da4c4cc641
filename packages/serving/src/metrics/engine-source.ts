import type { Backend } from '../backend.js';
import type { EngineStats, StageEngineStats } from '../embedded/engine-stats.js';

/** A stage, as far as its backend tells. */
export type StageFigures = Partial<StageEngineStats> &
  Pick<StageEngineStats, 'stage' | 'blocksUsed' | 'blocksTotal'>;

/** What is known of an engine. The embedded one knows everything. */
export type EngineFigures = Partial<Omit<EngineStats, 'stages'>> & {
  readonly stages?: readonly StageFigures[];
};

/** An engine in this process that reports about itself. */
export interface EngineSource {
  /** Name of its model; empty until it is known. */
  readonly model: string;
  stats(): EngineFigures | Promise<EngineFigures>;
}

/** The figures of an engine at one moment. */
export interface EngineReport {
  readonly model: string;
  readonly stats: EngineFigures;
}

/** Asks all engines; one that fails has nothing to report. */
export async function askEngines(sources: readonly EngineSource[]): Promise<EngineReport[]> {
  const settled = await Promise.allSettled(
    sources.map(async (source) => {
      const stats = await source.stats();
      return { model: source.model, stats };
    }),
  );
  return settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
}

/** A backend of this process as a source: all that it knows about itself, or what every backend does. */
export class BackendSource implements EngineSource {
  readonly #backend: Backend;
  #model = '';

  constructor(backend: Backend) {
    this.#backend = backend;
    void this.#learn();
  }

  get model(): string {
    return this.#model;
  }

  async stats(): Promise<EngineFigures> {
    if (this.#model === '') await this.#learn();
    const backend: Backend & { stats?: () => EngineFigures | Promise<EngineFigures> } = this.#backend;
    return backend.stats === undefined ? figuresOf(backend) : await backend.stats();
  }

  async #learn(): Promise<void> {
    try {
      this.#model = (await this.#backend.models())[0]?.id ?? '';
    } catch {
      // A backend that cannot say yet is asked again.
    }
  }
}

function figuresOf(backend: Backend): EngineFigures {
  const { runningRequests, waitingRequests, decodeBatchSize, handoverBytes, handovers, stages } =
    backend.metrics();
  return {
    running: runningRequests,
    waiting: waitingRequests,
    ...(decodeBatchSize !== undefined && { decodeBatchSize }),
    ...(handoverBytes !== undefined && { handoverBytes }),
    ...(handovers !== undefined && { handovers }),
    stages: (stages ?? []).map(({ stage, usedBlocks, totalBlocks }) => ({
      stage,
      blocksUsed: usedBlocks,
      blocksTotal: totalBlocks,
    })),
  };
}
