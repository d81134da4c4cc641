import { type DeepseekConfig, type ExpertRoutingOptions, expertRows } from '@moestack/model';
import { initialPlan, type Plan } from '@moestack/placement';
import { Scheduler, type StageConfig } from '@moestack/scheduler';
import type { Clock } from '../clock.js';
import { Engine } from './engine.js';
import type { EngineMonitor } from './engine-monitor.js';
import type { EngineInstance, StageRanks } from './engine-supervisor.js';
import { ExpertBalancer, type ExpertStage } from './expert-balancer.js';
import { count, type EmbeddedOptions, type EngineSizes } from './options.js';
import { ProcessGroup } from './process-group.js';
import type { RankSetup } from './protocol.js';
import { RankStepEngine } from './rank-step-engine.js';
import { StageGroup } from './stage-group.js';
import { connect, type StageChannel } from './stage-worker.js';

const MAXIMUM_REDUNDANT = 4096;

/** What every start of an engine has in common. */
export interface EngineSetup {
  readonly options: EmbeddedOptions;
  readonly directory: string;
  readonly config: DeepseekConfig;
  readonly sizes: EngineSizes;
  /** Tokens that end a text. */
  readonly eosIds: readonly number[];
  readonly stepTimeoutSeconds: number;
  readonly clock: Clock;
  readonly monitor: EngineMonitor;
  readonly onProgress: EmbeddedOptions['onProgress'];
}

/**
 * Starts the workers of all stages with so many ranks for each, and an engine over them.
 *
 * @throws what a load throws, after the workers that did start have ended.
 */
export async function startEngine(
  setup: EngineSetup,
  ranksOf: StageRanks,
  signal: AbortSignal,
): Promise<EngineInstance> {
  const { options, clock } = setup;
  const { stages } = setup.sizes.scheduler;
  // A stage that lost a rank of a group that shares heads goes on without the group.
  const ranks = stages.map(({ name, role }) => {
    const tensor = tensorOf(options, role);
    return Math.max(tensor, ranksOf[name]! - (ranksOf[name]! % tensor));
  });
  const progress = totalProgress(
    setup,
    ranks.reduce((sum, one) => sum + one, 0),
  );
  const planned = stages.map((stage, index) => stageSetup(setup, stage, ranks[index]!));
  const config = { ...setup.sizes.scheduler, stages: planned.map(({ stage }) => stage) };
  const started = planned.map((plan, index) => {
    const firstRank = index === 0 ? 0 : ranks[0]!;
    return startStage(setup, plan, ranks[index]!, {
      onProgress: (rank, report) => progress(firstRank + rank, report),
      signal,
    });
  });
  const groups = await allOrNone(started);
  const [first, second] = groups;
  if (first !== undefined && second !== undefined) connect(first.channel, second.channel);
  const channels = groups.map(({ channel }) => channel);
  const steps = new RankStepEngine(channels, { stepTimeoutSeconds: setup.stepTimeoutSeconds });
  const engine = new Engine(new Scheduler(config), steps, { config, monitor: setup.monitor });
  const rows = expertRows(setup.config);
  const layers = [...rows.keys()].filter((layer) => rows[layer]! >= 0);
  const experts = groups.flatMap(({ channel, plan }) => {
    const known = plan ?? onOneRank(layers.length, setup.config.n_routed_experts ?? 0);
    return known === undefined ? [] : [new ExpertBalancer(channel, known, { clock, layers })];
  });
  const balancers = experts.filter((_, index) => groups[index]!.plan !== undefined);
  steps.listen((error) => {
    for (const balancer of experts) balancer.fail(error);
  });
  if (options.rebalance !== undefined) {
    try {
      for (const balancer of balancers) {
        balancer.watch(options.rebalance, clock, (result) => options.onRebalance?.(result));
      }
    } catch (error) {
      await engine.close(error);
      throw error;
    }
  }
  return {
    engine,
    balancers,
    experts,
    ranks: Object.fromEntries(stages.map(({ name }, index) => [name, ranks[index]!])),
    weightBytes: channels.reduce((sum, channel) => sum + channel.weightBytes, 0),
    lost: () => steps.lost,
    onLost: (listener) => steps.listen(listener),
  };
}

interface StartOptions {
  readonly onProgress: (rank: number, report: { loadedBytes: number; totalBytes: number }) => void;
  readonly signal: AbortSignal;
}

async function startStage(
  { options, config }: EngineSetup,
  { stage, routing, spareSlots, tensor, rank }: StageSetup,
  ranks: number,
  { onProgress, signal }: StartOptions,
): Promise<Started> {
  const { communicator } = options;
  if (communicator !== undefined) {
    const channel = await ProcessGroup.start({
      name: stage.name,
      place: { routing, spareSlots, communicator, tensor },
      setup: rank,
      onProgress: (report) => onProgress(0, report),
    });
    return { channel, plan: routing.placement };
  }
  const channel = await StageGroup.start({
    name: stage.name,
    ranks,
    tensor,
    config,
    routing,
    spareSlots,
    setup: rank,
    onProgress,
    signal,
  });
  return { channel, plan: routing.placement };
}

/** How the ranks of a stage are set up; the same on every rank. */
export interface StageSetup {
  /** With the pools that its ranks have. */
  readonly stage: StageConfig;
  readonly routing: ExpertRoutingOptions;
  readonly spareSlots: number;
  /** Ranks that share the attention heads of a sequence, and have one pool of blocks, each with a copy. */
  readonly tensor: number;
  readonly rank: Omit<RankSetup, 'group'>;
}

/** Sets up a stage for so many ranks. Its blocks are shared out, so that each pool holds one whole context at least. */
export function stageSetup(
  { options, config, sizes, directory, eosIds, stepTimeoutSeconds }: Omit<EngineSetup, 'monitor'>,
  { blocks, ...stage }: StageConfig,
  ranks: number,
): StageSetup {
  const { blockSizeTokens } = sizes.scheduler;
  const tensor = tensorOf(options, stage.role);
  const pools = ranks / tensor;
  const perContext = Math.ceil(sizes.contextTokens / blockSizeTokens);
  const poolBlocks = Math.max(perContext, Math.ceil(blocks / pools));
  const shape = {
    maxSequences: stage.maxSequences,
    maxBlocks: Math.ceil((sizes.contextTokens + 1) / blockSizeTokens),
  };
  const routing = stageRouting(options, config, stage.role, ranks);
  return {
    stage: { ...stage, blocks: poolBlocks, ranks: pools },
    routing,
    tensor,
    // Whatever a new placement asks of one layer finds room.
    spareSlots: routing.placement === undefined ? 0 : routing.placement.deployment.replicas / ranks,
    rank: {
      kind: 'rank',
      directory,
      runtime: {
        blocks: poolBlocks,
        blockSizeTokens,
        maxBatchTokens: stage.tokenBudget,
        maxSequences: stage.maxSequences,
        maxContextTokens: sizes.contextTokens,
        // The ranks of a stage choose step by step whether to overlap two.
        microBatches: ranks > 1 ? 2 : 1,
        ...(options.precision && { precision: options.precision }),
        ...(options.attention && { attention: options.attention }),
      },
      eosIds,
      stepShape: shape,
      stepTimeoutSeconds,
    },
  };
}

/**
 * How the tokens of a stage reach its experts: prompts rank by rank, single tokens selection by selection, so that new placements change no bit of what is
 * decoded. A stage of one rank has no placement.
 */
function stageRouting(
  options: EmbeddedOptions,
  config: DeepseekConfig,
  role: StageConfig['role'],
  ranks: number,
): ExpertRoutingOptions {
  if (ranks === 1) return {};
  const { payload = 'f32', placements } = options;
  const redundant = count('redundantExperts', options.redundantExperts ?? 0, 0, MAXIMUM_REDUNDANT);
  const mode = role === 'decode' ? 'low-latency' : 'direct';
  const given = role === 'prefill' ? placements?.prefill : placements?.decode;
  // After a restart with fewer ranks, what was given for all of them fits no more.
  const wanted = role === 'prefill' ? options.prefillRanks : options.decodeRanks;
  if (given !== undefined && ranks === wanted) return { mode, payload, placement: given };
  const layers = expertRows(config).filter((row) => row >= 0).length;
  const experts = config.n_routed_experts ?? 0;
  // A model without experts is refused where its layout is checked.
  if (layers === 0) return { mode, payload };
  const replicas = Math.ceil((experts + redundant) / ranks) * ranks;
  const placement = initialPlan(layers, experts, { nodes: 1, gpus: ranks, replicas });
  return { mode, payload, placement };
}

/** Ranks of a stage that share the attention heads of a sequence. */
function tensorOf(options: EmbeddedOptions, role: StageConfig['role']): number {
  return (role === 'prefill' ? options.prefillTensor : options.decodeTensor) ?? 1;
}

/** All experts in order; undefined for a model without. */
function onOneRank(layers: number, experts: number): Plan | undefined {
  if (layers === 0 || experts === 0) return undefined;
  return initialPlan(layers, experts, { nodes: 1, gpus: 1, replicas: experts });
}

/** A stage and where its experts live, if they are on several ranks. */
interface Started {
  readonly channel: StageChannel & ExpertStage;
  readonly plan: Plan | undefined;
}

/** Waits for all; if one fails, ends the workers that did start. */
async function allOrNone(started: readonly Promise<Started>[]): Promise<Started[]> {
  try {
    return await Promise.all(started);
  } catch (error) {
    for (const settled of await Promise.allSettled(started)) {
      if (settled.status === 'fulfilled') await settled.value.channel.close();
    }
    throw error;
  }
}

/** Adds up what the ranks report. */
function totalProgress({ onProgress }: Pick<EngineSetup, 'onProgress'>, ranks: number) {
  const reports = Array.from({ length: ranks }, () => ({ loadedBytes: 0, totalBytes: 0 }));
  return (rank: number, report: { loadedBytes: number; totalBytes: number }): void => {
    reports[rank] = { loadedBytes: report.loadedBytes, totalBytes: report.totalBytes };
    if (reports.some((one) => one.totalBytes === 0)) return;
    onProgress?.({
      loadedBytes: reports.reduce((sum, one) => sum + one.loadedBytes, 0),
      totalBytes: reports.reduce((sum, one) => sum + one.totalBytes, 0),
    });
  };
}
