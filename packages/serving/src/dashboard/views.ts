import type { Clock } from '../clock.js';
import type { StageExpertStats, StepRecord } from '../embedded/engine-stats.js';
import type { EngineReport } from '../metrics/engine-source.js';
import type {
  ExpertsEvent,
  MigrationView,
  SpanView,
  StageExpertsView,
  StepPhasesView,
  StepsEvent,
} from './protocol.js';

/** Most steps in one event. */
const maximumSteps = 200;

/** What stages of several engines are told apart by. */
export function stagePrefix(engines: readonly EngineReport[], model: string): string {
  return engines.length > 1 ? `${model} ` : '';
}

/** The experts of the engines, as the page wants them. */
export function expertsEvent(engines: readonly EngineReport[], clock: Clock): ExpertsEvent {
  const stages = engines.flatMap(({ model, stats }) =>
    (stats.experts ?? []).map((experts) => ({
      experts,
      view: expertsView(experts, `${stagePrefix(engines, model)}${experts.stage}`),
      agoUs: ageUs(stats, experts),
    })),
  );
  let newest: (typeof stages)[number] | undefined;
  for (const one of stages) {
    if (one.agoUs !== undefined && one.agoUs < (newest?.agoUs ?? Infinity)) newest = one;
  }
  return {
    stages: stages.map(({ view }) => view),
    migration:
      newest === undefined ? null : migrationView(newest.experts, newest.view.stage, newest.agoUs!, clock),
  };
}

function ageUs({ atUs }: EngineReport['stats'], { lastMigration }: StageExpertStats): number | undefined {
  if (lastMigration === undefined || atUs === undefined) return undefined;
  return Math.max(0, atUs - lastMigration.atUs);
}

function expertsView(experts: StageExpertStats, stage: string): StageExpertsView {
  return {
    stage,
    layers: experts.layers.length,
    layerNames: experts.layers,
    experts: experts.tokens[0]?.length ?? 0,
    ranks: experts.ranks,
    tokens: experts.tokens.flat(),
    // One rank holds everything: there is nothing to place.
    slots: experts.ranks === 1 ? [] : experts.placement.flat(),
  };
}

function migrationView(
  { lastMigration }: StageExpertStats,
  stage: string,
  agoUs: number,
  clock: Clock,
): MigrationView | null {
  if (lastMigration === undefined) return null;
  const { layers, movedExperts, movedBytes, imbalanceBefore, imbalanceAfter } = lastMigration;
  const atSeconds = clock.unixSeconds() - Math.round(agoUs / 1e6);
  return { stage, atSeconds, layers, movedExperts, movedBytes, imbalanceBefore, imbalanceAfter };
}

/** Turns the engines' steps into spans, each step once. */
export class StepFeed {
  readonly #seen = new Map<string, number>();

  /** What ended since the call before. */
  next(engines: readonly EngineReport[]): StepsEvent {
    const spans: SpanView[] = [];
    const phases = new Map<string, StepPhasesView>();
    engines.forEach(({ model, stats }, index) => {
      const key = `${index} ${model}`;
      const prefix = stagePrefix(engines, model);
      const after = this.#seen.get(key) ?? -1;
      const fresh = (stats.timeline ?? []).filter(({ endUs }) => endUs > after).slice(-maximumSteps);
      this.#seen.set(
        key,
        fresh.reduce((highest, { endUs }) => Math.max(highest, endUs), after),
      );
      for (const step of fresh) {
        spans.push(...stepSpans(step, prefix));
        const { startUs, endUs } = step;
        const stage = `${prefix}${step.stage}`;
        if (step.phases.length > 0) phases.set(stage, { stage, startUs, endUs, phases: step.phases });
      }
    });
    return { spans, phases: [...phases.values()] };
  }
}

/** The spans of a step: one, or one for each of its micro-batches. */
export function stepSpans(step: StepRecord, prefix = ''): SpanView[] {
  const common = { stage: `${prefix}${step.stage}`, startUs: step.startUs, endUs: step.endUs };
  if (step.kind === 'transfer') {
    return [{ ...common, kind: 'transfer', microBatch: -1, sequences: step.sequences, tokens: 0 }];
  }
  const kind = kindOf(step);
  if (step.microBatches.length > 1) {
    return step.microBatches.map(({ sequences, tokens }, microBatch) => ({
      ...common,
      kind,
      microBatch,
      sequences,
      tokens,
    }));
  }
  const tokens = step.prefillTokens + step.decodeSequences * step.fusedSteps;
  return [{ ...common, kind, microBatch: -1, sequences: step.sequences, tokens }];
}

function kindOf({ prefillTokens, decodeSequences }: StepRecord): SpanView['kind'] {
  if (prefillTokens > 0 && decodeSequences > 0) return 'mixed';
  return prefillTokens > 0 ? 'prefill' : 'decode';
}
