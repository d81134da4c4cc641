import type { Communicator, WaitOptions } from '@moestack/collectives';
import type { Checkpoint } from '@moestack/fp8';
import { openCheckpoint } from '@moestack/fp8/node';
import { Arena, Kernels, packedLike, type WeightFormat } from '@moestack/kernels';
import { createRouter } from '@moestack/routing';
import { AbsorbedAttention } from './absorbed-attention.js';
import { arenaBytes } from './arena-size.js';
import { Attention, type AttentionContext } from './attention.js';
import type { DeepseekConfig } from './config.js';
import { type Dimensions, dimensionsOf, routerConfigOf } from './dimensions.js';
import { EmulatedExchange } from './emulated-exchange.js';
import { type ExpertExchange, LocalExpertExchange } from './expert-exchange.js';
import { ExpertPlacement } from './expert-placement.js';
import type { ExchangeSizes } from './expert-rows.js';
import { LatentCache } from './kv-cache.js';
import { createLayerStages } from './layer-stages.js';
import { NaiveAttention } from './naive-attention.js';
import { openParallelExchange } from './parallel-exchange.js';
import { type ExpertLayout, expertRows, resolveExpertLayout, slotsOf } from './parallel-options.js';
import { type AttentionMode, residentFormat } from './precision.js';
import { Projector } from './projector.js';
import { readConfig } from './read-config.js';
import { resolveModes } from './resolve-modes.js';
import { fillCosSin, ropeTables } from './rope.js';
import { ModelRuntime } from './runtime.js';
import { badOption, limitsOf, type ModelRuntimeOptions } from './runtime-options.js';
import { StepAgreement } from './step-agreement.js';
import type { BatchLimits } from './step-batch.js';
import { TensorExchange, type TensorSizes } from './tensor-exchange.js';
import { allExperts, checkTensors, type TensorSpec, tensorPlan } from './tensor-plan.js';
import {
  checkTensorPrecision,
  headSlices,
  queryInput,
  shareDimensions,
  shareRows,
  type TensorShare,
  tensorShare,
  tensorSizes,
  WHOLE_SHARE,
} from './tensor-share.js';
import { type LayerWeights, loadWeights, type MlpWeights } from './weights.js';
import { createWorkspace } from './workspace.js';

/**
 * Loads a Hugging Face directory (config.json, one or several safetensors) into an arena of its own.
 *
 * @param path - the directory.
 * @throws ModelError for a configuration or tensors that the engine cannot run; errors of `@moestack/fp8` for damaged
 * safetensors; errors of `@moestack/kernels` where weights, cache and activations exceed 4 GiB.
 */
export async function openRuntime(path: string, options: ModelRuntimeOptions): Promise<ModelRuntime> {
  const config = await readConfig(path, options.config);
  const limits = limitsOf(options, config);
  const checkpoint = await openCheckpoint(path);
  try {
    return await buildRuntime(config, limits, checkpoint, options);
  } finally {
    await checkpoint.close();
  }
}

/** How long a rank that has loaded its share waits for the others. */
const LOADING_SECONDS = 600;

async function buildRuntime(
  config: DeepseekConfig,
  limits: BatchLimits,
  checkpoint: Checkpoint,
  options: ModelRuntimeOptions,
): Promise<ModelRuntime> {
  const d = dimensionsOf(config);
  const { parallel } = options;
  const share = expertShare(options, config, d);
  const complete = tensorPlan(config);
  // Every rank checks the whole checkpoint, so that all refuse the same ones.
  let checkpointBytes = checkTensors(checkpoint, complete);
  const modes = await resolveModes(options, config, checkpoint, complete);
  checkTensorPrecision(share.tensor, d, modes.precision);
  const plan = parallel === undefined ? complete : tensorPlan(config, share.expertsOf, share.tensor);
  if (plan !== complete) checkpointBytes = checkTensors(checkpoint, plan);
  const formatOf = (spec: TensorSpec) =>
    residentFormat(modes.precision, spec.role, checkpoint.info(spec.name).dtype);
  const { microBatches = 1 } = options;
  if (microBatches !== 1 && microBatches !== 2) throw badOption('microBatches', microBatches, '1 or 2');
  const spares = spareTensors(complete, share.spareSlots, formatOf);
  const arena = Arena.create({
    maximumBytes: arenaBytes(
      [...plan, ...spares],
      formatOf,
      d,
      limits,
      share.sizes,
      microBatches,
      share.tensor,
    ),
  });
  const kernels = new Kernels(arena);
  const weights = await loadWeights({
    checkpoint,
    config,
    plan,
    kernels,
    precision: modes.precision,
    expertsOf: share.expertsOf,
    totalBytes: checkpointBytes,
    onProgress: options.onProgress,
    signal: options.signal,
  });
  const projector = new Projector(kernels, modes.precision, modes.w8a8Scale);
  const context = createAttentionContext(config, limits, projector, modes.attention, share.tensor);
  const router = d.experts > 0 ? createRouter(routerConfigOf(config)) : undefined;
  const rows = expertRows(config);
  const layers = weights.layers.map((layer, index) =>
    createLayerStages({
      dimensions: d,
      projector,
      attention: new Attention(context, layer.attention, index),
      weights: layer,
      router,
      row: rows[index]!,
      maxRows: limits.maxBatchTokens,
      onExpertLoad: options.onExpertLoad,
    }),
  );
  const sizes = { hidden: d.hidden, topK: d.topK, experts: d.experts, maxTokens: limits.maxBatchTokens };
  const { layout } = share;
  const wait = {
    timeoutSeconds: LOADING_SECONDS,
    ...(options.signal !== undefined && { signal: options.signal }),
  };
  const parts = { config, dimensions: d, limits, kernels, projector, weights, layers, share: share.tensor };
  const common = { ...parts, cache: context.cache, checkpointBytes, trace: options.trace };
  const withWorkspaces = (exchanges: readonly ExpertExchange[], tensors: readonly TensorExchange[]) => {
    const [first, second] = exchanges.map((exchange, i) => ({
      exchange,
      tensor: tensors[i],
      workspace: createWorkspace(arena, context.dimensions, limits, queryInput(d, share.tensor)),
    }));
    return { ...common, ...first!, second };
  };
  if (parallel !== undefined && layout !== undefined && share.sizes !== undefined) {
    const over = await openParallelExchange(kernels, parallel.communicator, layout, share.sizes, {
      microBatches,
      wait,
    });
    const placement = new ExpertPlacement({
      communicator: await parallel.communicator.dup(wait),
      plan: layout.plan,
      selector: over.selector,
      experts: weights.layers.flatMap(({ moe }) => (moe === undefined ? [] : [moe.experts])),
      spares: spareExperts(weights.layers, share.spareSlots, arena),
    });
    const group = await openTensorGroup(kernels, parallel.communicator, share.tensor, {
      sizes: tensorSizes(d, share.tensor, limits),
      microBatches,
      wait,
    });
    return new ModelRuntime({
      ...withWorkspaces(over.exchanges, group.exchanges),
      dispatcher: over.dispatcher,
      placement,
      tensorGroup: group.communicator,
      agreement:
        microBatches === 2
          ? await StepAgreement.open(await parallel.communicator.dup(wait), wait)
          : undefined,
    });
  }
  const { emulate } = options;
  const exchanges = Array.from({ length: microBatches }, () =>
    layout !== undefined && emulate !== undefined
      ? new EmulatedExchange(kernels, sizes, layout, emulate)
      : new LocalExpertExchange(kernels, sizes),
  );
  return new ModelRuntime({
    ...withWorkspaces(exchanges, []),
    dispatcher: undefined,
    placement: undefined,
    tensorGroup: undefined,
    agreement: undefined,
  });
}

/** The ranks that share this one's heads, and the way to them. Collective. */
async function openTensorGroup(
  kernels: Kernels,
  world: Communicator,
  { size }: TensorShare,
  options: { readonly sizes: TensorSizes; readonly microBatches: number; readonly wait: WaitOptions },
): Promise<{ communicator: Communicator | undefined; exchanges: TensorExchange[] }> {
  if (size === 1) return { communicator: undefined, exchanges: [] };
  const communicator = await world.split(Math.floor(world.rank / size), world.rank, options.wait);
  const exchanges: TensorExchange[] = [];
  for (let i = 0; i < options.microBatches; i++) {
    exchanges.push(await TensorExchange.open(kernels, communicator!, options.sizes, options.wait));
  }
  return { communicator, exchanges };
}

/** The experts that this rank holds, and how those of all ranks are laid out. */
interface ExpertShare {
  readonly expertsOf: (layer: number) => Int32Array;
  readonly layout: ExpertLayout | undefined;
  /** Sizes of the exchange between ranks, if there is one. */
  readonly sizes: ExchangeSizes | undefined;
  readonly spareSlots: number;
  /** The part of the attention heads that this rank has. */
  readonly tensor: TensorShare;
}

function expertShare(options: ModelRuntimeOptions, config: DeepseekConfig, d: Dimensions): ExpertShare {
  const { parallel, emulate } = options;
  if (parallel !== undefined && emulate !== undefined) {
    throw badOption('emulate', 'together with parallel', 'one of the two');
  }
  const all = allExperts(config);
  if (parallel !== undefined) {
    const { topology, rank, size } = parallel.communicator;
    const layout = resolveExpertLayout(parallel, config, d, { ranks: size, nodes: topology.nodes });
    const { slotsPerRank } = layout;
    const { hidden, topK } = d;
    const { spareSlots = 0 } = parallel;
    const tensor = tensorShare(parallel.tensor ?? 1, size, rank, d);
    if (!Number.isInteger(spareSlots) || spareSlots < 0 || spareSlots > slotsPerRank) {
      throw badOption('spareSlots', spareSlots, `a whole number up to the ${slotsPerRank} slots of a rank`);
    }
    return {
      expertsOf: (layer) => slotsOf(layout, rank, layer),
      layout,
      spareSlots,
      tensor,
      sizes: {
        hidden,
        topK,
        ranks: size,
        slotsPerRank,
        maxTokens: shareRows(options.maxBatchTokens, tensor),
      },
    };
  }
  const layout =
    emulate === undefined
      ? undefined
      : resolveExpertLayout(emulate, config, d, { ranks: emulate.ranks, nodes: emulate.nodes ?? 1 });
  return { expertsOf: () => all, layout, sizes: undefined, spareSlots: 0, tensor: WHOLE_SHARE };
}

const ROUTED = /\.mlp\.experts\.\d+\./;

/** Tensors of `count` more experts, for memory's sake; any expert of any layer must fit into their place. */
function spareTensors(
  plan: readonly TensorSpec[],
  count: number,
  formatOf: (spec: TensorSpec) => WeightFormat,
): TensorSpec[] {
  if (count === 0) return [];
  const routed = plan.filter((spec) => ROUTED.test(spec.name));
  const one = routed.slice(0, 3);
  for (const [i, spec] of routed.entries()) {
    if (formatOf(spec) === formatOf(one[i % 3]!)) continue;
    throw badOption(
      'spareSlots',
      count,
      `0, since ${spec.name} is stored in another type than ${one[i % 3]!.name}`,
    );
  }
  return Array.from({ length: count }, () => one).flat();
}

function spareExperts(layers: readonly LayerWeights[], count: number, arena: Arena): MlpWeights[] {
  const like = layers.find(({ moe }) => moe !== undefined)?.moe?.experts[0];
  if (like === undefined) return [];
  return Array.from({ length: count }, () => ({
    gate: packedLike(like.gate, arena),
    up: packedLike(like.up, arena),
    down: packedLike(like.down, arena),
  }));
}

function createAttentionContext(
  config: DeepseekConfig,
  limits: BatchLimits,
  projector: Projector,
  mode: AttentionMode,
  share: TensorShare,
): AttentionContext {
  const whole = dimensionsOf(config);
  const d = shareDimensions(whole, share);
  const { expandRow } = headSlices(whole, share);
  const { kernels, roundsToBf16 } = projector;
  const tables = ropeTables(config);
  const { softmaxScale } = tables;
  const cosSin = kernels.arena.f32(limits.maxContextTokens * d.ropeDims);
  fillCosSin(tables, limits.maxContextTokens, cosSin);
  const cache = new LatentCache(kernels.arena, { ...limits, layers: d.layers, latentDims: d.latentDims });
  return {
    dimensions: d,
    projector,
    cache,
    cosSin,
    mode,
    absorbed: new AbsorbedAttention(kernels, d, cache, { softmaxScale, expandRow }),
    naive: new NaiveAttention(kernels, d, cache, { softmaxScale, roundsToBf16, expandRow }),
  };
}
