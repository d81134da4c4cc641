import { projectionWeights } from './attention-cost.js';
import type { ExchangeCost } from './exchange-cost.js';
import { type StepSetting, storedBytes } from './setting.js';

/** Bytes and operations of one GPU in a step, counted from the model's sizes. */
export function stepVolume(
  setting: StepSetting,
  load: { tokens: number; contextTokens: number; sequences: number },
  exchange: ExchangeCost | undefined,
): { bytes: { memory: number; nvlink: number; network: number }; flops: number } {
  const { model, pool, precision, accelerator } = setting;
  const { tokens, contextTokens, sequences } = load;
  const { tp, dp } = pool;
  const gpus = tp * dp;
  const moeLayers = model.layers - model.denseLayers;
  const weight = storedBytes(precision.weights);
  const attentionWeight = storedBytes(precision.weights === 'fp4' ? 'fp8' : precision.weights);
  const { perHead, shared } = projectionWeights(model);
  const projections = (perHead * model.heads) / tp + shared;
  const expert = 3 * model.hidden * model.expertIntermediate;
  const denseLayer = (3 * model.hidden * model.denseIntermediate) / tp;
  const selections = tokens * dp * model.topK;
  const held = (model.experts + pool.redundantExperts) / gpus;
  const reached = Math.min(held, held * -Math.expm1(-selections / model.experts));
  const head = (model.hidden * model.vocabulary) / tp;

  const cache = (model.kvLoraRank + model.qkRopeHeadDim) * (precision.attention === 'fp8' ? 1 : 2);
  const perLayer = projections * attentionWeight + (contextTokens + tokens) * cache;
  const moe = (reached + model.sharedExperts) * expert * weight;
  const activations = 24 * tokens * model.hidden * model.layers;
  const memory =
    model.layers * perLayer +
    moeLayers * moe +
    model.denseLayers * denseLayer * attentionWeight +
    head * 2 +
    activations;

  const width = model.qkNopeHeadDim + model.qkRopeHeadDim + model.vHeadDim;
  // Decode attends in the compressed space: every head reads the whole latent vector.
  const absorbed = 2 * model.kvLoraRank + model.qkRopeHeadDim;
  const prefill = setting.role === 'prefill';
  const pairs = prefill
    ? (tokens * contextTokens) / sequences + (tokens * tokens) / sequences / 2
    : (contextTokens * tokens) / sequences;
  const core = (2 * pairs * (prefill ? width : absorbed) * model.heads) / tp;
  const flops =
    model.layers * (2 * tokens * projections + core) +
    moeLayers * 2 * expert * (selections / gpus + (tokens * model.sharedExperts) / tp) +
    model.denseLayers * 2 * tokens * denseLayer +
    2 * head * (prefill ? sequences : tokens);

  const sent = exchange?.bytesPerToken ?? { intra: 0, inter: 0 };
  const reduced = tp > 1 ? (2 * (tp - 1) * tokens * model.hidden * 2 * (exchange ? 1 : 2)) / tp : 0;
  const gathered = dp > 1 && pool.ep === 1 ? 4 * tokens * (dp - 1) * model.hidden : 0;
  const inside = gpus <= accelerator.gpusPerNvlinkDomain;
  return {
    bytes: {
      memory,
      nvlink: moeLayers * sent.intra * (tokens / tp) + model.layers * (reduced + (inside ? gathered : 0)),
      network: moeLayers * sent.inter * (tokens / tp) + model.layers * (inside ? 0 : gathered),
    },
    flops,
  };
}
