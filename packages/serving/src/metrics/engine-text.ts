import type { StageExpertStats } from '../embedded/engine-stats.js';
import type { EngineFigures, EngineReport, StageFigures } from './engine-source.js';
import { highestOverMean, rankLoads } from './expert-load.js';
import { ExpositionWriter } from './exposition.js';

/** A stage with more experts than this over all layers shows its load by layer only. */
const maximumExpertSeries = 4096;

/** What an engine does not know is left out. */
type Value = (stats: EngineFigures) => number | undefined;

/** Figures that vLLM has too, under its names and with its meaning. */
const vllmFamilies: readonly (readonly [string, 'counter' | 'gauge', string, Value])[] = [
  ['num_requests_running', 'gauge', 'Requests being computed', (s) => s.running],
  ['num_requests_waiting', 'gauge', 'Requests waiting to be computed', (s) => s.waiting],
  ['kv_cache_usage_perc', 'gauge', 'KV blocks in use, 1 = all, of the fullest stage', fullestStage],
  ['prompt_tokens_total', 'counter', 'Prompt tokens taken in', (s) => s.promptTokens],
  ['generation_tokens_total', 'counter', 'Tokens generated', (s) => s.generatedTokens],
  [
    'prefix_cache_queries_total',
    'counter',
    'Prompt tokens looked up in the prefix cache',
    (s) => s.promptTokens,
  ],
  ['prefix_cache_hits_total', 'counter', 'Prompt tokens found in the prefix cache', (s) => s.cachedTokens],
  [
    'num_preemptions_total',
    'counter',
    'Times that a request lost its KV blocks to another',
    (s) => s.preemptions,
  ],
];

const ownFamilies: readonly (readonly [string, 'counter' | 'gauge', string, Value])[] = [
  ['requests_finished_total', 'counter', 'Continuations computed to their end', (s) => s.finished],
  ['requests_cancelled_total', 'counter', 'Continuations given up', (s) => s.cancelled],
  ['requests_failed_total', 'counter', 'Continuations that failed', (s) => s.failed],
  [
    'requests_requeued_total',
    'counter',
    'Times that a request is computed again after a lost step',
    (s) => s.requeued,
  ],
  ['kv_handovers_total', 'counter', 'Requests moved from prefill to decode', (s) => s.handovers],
  ['kv_handover_bytes_total', 'counter', 'KV bytes moved from prefill to decode', (s) => s.handoverBytes],
  ['admission_accepted_total', 'counter', 'Requests admitted', (s) => s.admission?.accepted],
  [
    'admission_shortened_total',
    'counter',
    'Requests admitted with fewer tokens',
    (s) => s.admission?.shortened,
  ],
  ['admission_deferred_total', 'counter', 'Requests admitted behind others', (s) => s.admission?.deferred],
  ['slo_attainment', 'gauge', 'Share of the last requests that met every target', (s) => s.slo?.attainment],
  [
    'slo_ttft_attainment',
    'gauge',
    'Share that met the target for the first token',
    (s) => s.slo?.ttftAttainment,
  ],
  ['slo_tpot_attainment', 'gauge', 'Share that met the target per token', (s) => s.slo?.tpotAttainment],
  [
    'goodput_requests_per_second',
    'gauge',
    'Requests a second within the targets',
    (s) => s.slo?.goodputRequestsPerSecond,
  ],
  [
    'goodput_tokens_per_second',
    'gauge',
    'Tokens a second of those requests',
    (s) => s.slo?.goodputTokensPerSecond,
  ],
];

const stageFamilies: readonly (readonly [
  string,
  'counter' | 'gauge',
  string,
  (stage: StageFigures) => number | undefined,
])[] = [
  ['stage_running', 'gauge', 'Sequences that hold KV blocks of the stage', (s) => s.running],
  [
    'stage_handover_waiting',
    'gauge',
    'Prefilled sequences that wait for the hand-over',
    (s) => s.handoverWaiting,
  ],
  ['kv_blocks', 'gauge', 'KV blocks of the pool', (s) => s.blocksTotal],
  ['kv_blocks_used', 'gauge', 'KV blocks of live sequences', (s) => s.blocksUsed],
  ['kv_blocks_cached', 'gauge', 'KV blocks that hold prefixes of past requests', (s) => s.blocksCached],
  ['stage_steps_total', 'counter', 'Steps computed', (s) => s.steps],
  ['stage_busy_seconds_total', 'counter', 'Time that steps took', (s) => s.busySeconds],
];

/** What a gateway sees of a model: tokens when requests end. */
export interface SeenModel {
  readonly model: string;
  readonly promptTokens: number;
  readonly generatedTokens: number;
  readonly running: number;
}

const seenValues: Readonly<Record<string, (seen: SeenModel) => number>> = {
  num_requests_running: ({ running }) => running,
  prompt_tokens_total: ({ promptTokens }) => promptTokens,
  generation_tokens_total: ({ generatedTokens }) => generatedTokens,
};

/**
 * The figures of the engines in the Prometheus text format.
 *
 * @param seen - counts for models whose engine does not count itself.
 */
export function engineText(reports: readonly EngineReport[], seen: readonly SeenModel[] = []): string {
  const out = new ExpositionWriter();
  const engines = reports.map(({ model, stats }, index) => ({
    stats,
    labels: { model_name: model, engine: index },
  }));
  for (const [name, type, help, value] of vllmFamilies) {
    const own = engines.map(({ labels, stats }) => [labels, value(stats)] as const);
    const counted = new Set(own.flatMap(([labels, known]) => (known === undefined ? [] : labels.model_name)));
    const seenValue = seenValues[name];
    const others = seenValue === undefined ? [] : seen.filter(({ model }) => !counted.has(model));
    out.optional(`vllm:${name}`, type, help, [
      ...own,
      ...others.map((one) => [{ model_name: one.model, engine: 'gateway' }, seenValue?.(one)] as const),
    ]);
  }
  if (engines.length === 0) return out.text();
  for (const [name, type, help, value] of ownFamilies) {
    out.optional(
      `moestack:${name}`,
      type,
      help,
      engines.map(({ labels, stats }) => [labels, value(stats)] as const),
    );
  }
  writeRefusals(out, engines);
  writeHistograms(out, engines);
  for (const [name, type, help, value] of stageFamilies) {
    out.optional(
      `moestack:${name}`,
      type,
      help,
      engines.flatMap(({ labels, stats }) =>
        (stats.stages ?? []).map((stage) => [{ ...labels, stage: stage.stage }, value(stage)] as const),
      ),
    );
  }
  writeExperts(out, engines);
  return out.text();
}

interface Engine {
  readonly stats: EngineFigures;
  readonly labels: { readonly model_name: string; readonly engine: number };
}

function writeRefusals(out: ExpositionWriter, engines: readonly Engine[]): void {
  out.optional(
    'moestack:admission_refused_total',
    'counter',
    'Requests refused, by reason',
    engines.flatMap(({ labels, stats }) =>
      Object.entries(stats.admission?.refused ?? {}).map(
        ([reason, count]) => [{ ...labels, reason }, count] as const,
      ),
    ),
  );
}

function writeHistograms(out: ExpositionWriter, engines: readonly Engine[]): void {
  const families = [
    ['vllm:inter_token_latency_seconds', 'Time between two tokens of a continuation', 'interTokenSeconds'],
    ['moestack:engine_time_to_first_token_seconds', 'Submission to first token', 'ttftSeconds'],
    [
      'moestack:engine_time_per_output_token_seconds',
      'Mean time between the tokens of a continuation',
      'tpotSeconds',
    ],
    ['moestack:decode_batch_size', 'Sequences per decode step', 'decodeBatchSize'],
  ] as const;
  for (const [name, help, field] of families) {
    const known = engines.flatMap(({ labels, stats }) => {
      const snapshot = stats[field];
      return snapshot === undefined ? [] : [{ labels, snapshot }];
    });
    if (known.length === 0) continue;
    out.family(name, 'histogram', help);
    for (const { labels, snapshot } of known) out.histogram(name, labels, snapshot);
  }
}

function writeExperts(out: ExpositionWriter, engines: readonly Engine[]): void {
  const stages = engines.flatMap(({ labels, stats }) =>
    (stats.experts ?? []).map((experts) => ({ experts, labels: { ...labels, stage: experts.stage } })),
  );
  if (stages.length === 0) return;
  const byLayer = (
    name: string,
    help: string,
    value: (experts: StageExpertStats, layer: number) => number | undefined,
  ) => {
    out.family(name, 'gauge', help);
    for (const { experts, labels } of stages) {
      experts.layers.forEach((layerName, layer) => {
        const figure = value(experts, layer);
        if (figure !== undefined) out.sample(name, { ...labels, layer: layerName }, figure);
      });
    }
  };
  byLayer(
    'moestack:expert_load_imbalance',
    'Highest over mean load of an expert of the layer since the start',
    (experts, layer) => highestOverMean(experts.tokens[layer] ?? []),
  );
  byLayer(
    'moestack:expert_rank_imbalance',
    'The same of a rank under the current placement',
    (experts, layer) => (experts.ranks === 1 ? undefined : highestOverMean(rankLoads(experts, layer))),
  );
  out.family('moestack:expert_tokens_total', 'counter', 'Tokens routed to an expert');
  for (const { experts, labels } of stages) {
    if (experts.tokens.reduce((sum, row) => sum + row.length, 0) > maximumExpertSeries) continue;
    experts.tokens.forEach((row, layer) => {
      const name = experts.layers[layer] ?? layer;
      row.forEach((count, expert) => {
        out.sample('moestack:expert_tokens_total', { ...labels, layer: name, expert }, count);
      });
    });
  }
  const migrations = [
    ['moestack:expert_migration_experts', 'Experts moved by the last migration', 'movedExperts'],
    ['moestack:expert_migration_bytes', 'Bytes moved by the last migration', 'movedBytes'],
  ] as const;
  for (const [name, help, field] of migrations) {
    out.family(name, 'gauge', help);
    for (const { experts, labels } of stages) {
      if (experts.lastMigration !== undefined) out.sample(name, labels, experts.lastMigration[field]);
    }
  }
}

function fullestStage({ stages }: EngineFigures): number | undefined {
  if (stages === undefined || stages.length === 0) return undefined;
  return Math.max(...stages.map(({ blocksUsed, blocksTotal }) => blocksUsed / Math.max(1, blocksTotal)));
}
