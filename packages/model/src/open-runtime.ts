import type { Checkpoint } from '@moestack/fp8';
import { openCheckpoint } from '@moestack/fp8/node';
import { Arena, Kernels } from '@moestack/kernels';
import { createRouter } from '@moestack/routing';
import { AbsorbedAttention } from './absorbed-attention.js';
import { arenaBytes } from './arena-size.js';
import { Attention, type AttentionContext } from './attention.js';
import type { DeepseekConfig } from './config.js';
import { dimensionsOf, routerConfigOf } from './dimensions.js';
import { LocalExpertExchange } from './expert-exchange.js';
import { LatentCache } from './kv-cache.js';
import { createLayerStages } from './layer-stages.js';
import { NaiveAttention } from './naive-attention.js';
import { type AttentionMode, residentFormat } from './precision.js';
import { Projector } from './projector.js';
import { readConfig } from './read-config.js';
import { resolveModes } from './resolve-modes.js';
import { fillCosSin, ropeTables } from './rope.js';
import { ModelRuntime } from './runtime.js';
import { limitsOf, type ModelRuntimeOptions } from './runtime-options.js';
import type { BatchLimits } from './step-batch.js';
import { checkTensors, type TensorSpec, tensorPlan } from './tensor-plan.js';
import { loadWeights } from './weights.js';
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

async function buildRuntime(
  config: DeepseekConfig,
  limits: BatchLimits,
  checkpoint: Checkpoint,
  options: ModelRuntimeOptions,
): Promise<ModelRuntime> {
  const plan = tensorPlan(config);
  const checkpointBytes = checkTensors(checkpoint, plan);
  const modes = await resolveModes(options, config, checkpoint, plan);
  const d = dimensionsOf(config);
  const formatOf = (spec: TensorSpec) =>
    residentFormat(modes.precision, spec.role, checkpoint.info(spec.name).dtype);
  const arena = Arena.create({ maximumBytes: arenaBytes(plan, formatOf, d, limits) });
  const kernels = new Kernels(arena);
  const weights = await loadWeights({
    checkpoint,
    config,
    plan,
    kernels,
    precision: modes.precision,
    totalBytes: checkpointBytes,
    onProgress: options.onProgress,
    signal: options.signal,
  });
  const projector = new Projector(kernels, modes.precision, modes.w8a8Scale);
  const context = createAttentionContext(config, limits, projector, modes.attention);
  const router = d.experts > 0 ? createRouter(routerConfigOf(config)) : undefined;
  const layers = weights.layers.map((layer, index) =>
    createLayerStages({
      dimensions: d,
      projector,
      attention: new Attention(context, layer.attention, index),
      weights: layer,
      router,
    }),
  );
  const sizes = { hidden: d.hidden, topK: d.topK, experts: d.experts, maxTokens: limits.maxBatchTokens };
  return new ModelRuntime({
    config,
    dimensions: d,
    limits,
    kernels,
    projector,
    weights,
    layers,
    cache: context.cache,
    workspace: createWorkspace(arena, d, limits),
    exchange: new LocalExpertExchange(kernels, sizes),
    checkpointBytes,
  });
}

function createAttentionContext(
  config: DeepseekConfig,
  limits: BatchLimits,
  projector: Projector,
  mode: AttentionMode,
): AttentionContext {
  const d = dimensionsOf(config);
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
    absorbed: new AbsorbedAttention(kernels, d, cache, softmaxScale),
    naive: new NaiveAttention(kernels, d, cache, { softmaxScale, roundsToBf16 }),
  };
}
