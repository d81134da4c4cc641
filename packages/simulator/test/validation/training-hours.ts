import { projectionWeights } from '../../src/cost/attention-cost.js';
import { gemmSeconds } from '../../src/cost/setting.js';
import { accelerators, checkpointWeights, deepSeekV3 } from '../../src/index.js';
import { stepModel } from './step-model.js';

const { h800 } = accelerators;
const model = deepSeekV3;

/** The published set-up (DeepSeek-V3 report, sections 3.2 and 4.2): 2,048 GPUs in 16 stages, EP64, batches of 15,360 sequences. */
const gpus = 2048;
const stages = 16;
const ep = 64;
const sequences = 15_360;
const tokens = 4096;
const communicationSms = 20;
/** Core attention of FlashAttention-3 at a sequence of 4,096 and heads of 128 (arXiv 2407.08608): 542 of the H100's 989 TFLOP/s backward. */
const backwardEfficiency = 542 / 989;
const forwardEfficiency = 0.6;

/** Seconds of one layer of experts and a micro-batch of one sequence. */
interface LayerSeconds {
  readonly backward: number;
  /** Casts and weight gradients, parts of `backward`. */
  readonly casts: number;
  readonly weightGradients: number;
  /** A forward beside a backward (DualPipe), exchanges hidden or not. */
  readonly both: number;
}

/**
 * From forward prices. Backward: twice the GEMMs, 2.5 times the operations of core attention, RMSNorm and the up-projections of attention computed again, and
 * the casts to FP8 that inference has not: each linear layer's input and output gradient in both orders.
 */
function layerSeconds(): LayerSeconds {
  const cost = stepModel(h800, 'profile', 'prefill', {
    prefill: { dp: ep, ep, redundantExperts: 0, overlap: { enabled: false, communicationSms: 0 } },
  });
  const { parts } = cost.prefillStep({ tokens, contextTokens: 0, sequences: 1 });
  const slower = h800.sms / (h800.sms - communicationSms);
  const moeLayers = model.layers - model.denseLayers;
  const attention = (parts.attention / model.layers) * slower;
  const gate = parts.gate / model.layers;
  const gemmsOfExperts = ((parts.sharedExperts + parts.experts) / moeLayers) * slower;
  const forward = attention + gate + gemmsOfExperts;
  const coreOperations = 2 * (tokens / 2) * tokens * (192 + 128) * model.heads;
  const core = (coreOperations * slower) / h800.flopsPerSecond.bf16;
  const forwardCore = core / forwardEfficiency;
  const { qLoraRank, kvLoraRank, heads, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = model;
  const up = heads * (qLoraRank! * (qkNopeHeadDim + qkRopeHeadDim) + kvLoraRank * (qkNopeHeadDim + vHeadDim));
  const { perHead, shared } = projectionWeights(model);
  const again = (attention - forwardCore) * (up / (perHead * heads + shared)) + gate;
  const gemms = forward - forwardCore;
  const casts = castSeconds();
  const backward = 2 * gemms + (2.5 * core) / backwardEfficiency + again + casts;
  const exchanged = (2 * (parts.dispatch + parts.combine)) / moeLayers;
  return { backward, casts, weightGradients: gemms, both: Math.max(forward + backward, exchanged) };
}

/**
 * Passes over memory beyond those of twice the forward: for each linear layer, its FP8 input is read and written in the other order, its output gradient read
 * twice and written in both (report, section 3.3.2). Forward tables hold a read of BF16 and a write of FP8 for inputs, but for that of routed experts, which arrive in FP8.
 */
function castSeconds(): number {
  const { hidden, heads, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim, expertIntermediate } =
    model;
  const linear = (rows: number, inputs: number, outputs: number, cast = true): number =>
    rows * (2 * inputs + 6 * outputs - (cast ? 2 * 3 * inputs : 0));
  const routed = tokens * model.topK;
  const bytes =
    linear(tokens, hidden, qLoraRank! + kvLoraRank + qkRopeHeadDim) +
    linear(tokens, qLoraRank!, heads * (qkNopeHeadDim + qkRopeHeadDim)) +
    linear(tokens, kvLoraRank, heads * (qkNopeHeadDim + vHeadDim)) +
    linear(tokens, heads * vHeadDim, hidden) +
    linear(tokens, hidden, 2 * expertIntermediate * model.sharedExperts) +
    linear(tokens, expertIntermediate * model.sharedExperts, hidden) +
    linear(routed, hidden, 2 * expertIntermediate, false) +
    linear(routed, expertIntermediate, hidden);
  return bytes / (h800.memoryBytesPerSecond * h800.memoryEfficiency);
}

/** A forward beside a backward of four layers, as deepseek-ai/profile-data shows it. */
export function chunkPairSeconds(): number {
  return 4 * layerSeconds().both;
}

/**
 * Gradients and weights once a batch: a reduction of FP32 gradients and a gathering of BF16 weights over each GPU's network card, and AdamW (FP32 master weights, BF16
 * moments; report, section 3.3.3) on the part of a GPU. DualPipe gives each GPU two stages. Nothing of it is taken to be hidden.
 */
function batchEndSeconds(): number {
  const experts =
    (model.layers - model.denseLayers) * model.experts * 3 * model.hidden * model.expertIntermediate;
  const all = checkpointWeights(model, 'bf16').parameters;
  const held = (2 / stages) * (experts / ep + (all - experts));
  const network = (held * (4 + 2)) / h800.network.bytesPerSecond;
  // Gradient read, master weight and two moments read and written, weight written.
  const own = (all / gpus) * (4 + 2 * 4 + 2 * 2 * 2 + 2);
  return network + own / (h800.memoryBytesPerSecond * h800.memoryEfficiency);
}

/** Where the hours of training go. */
export interface TrainingHours {
  /** H800 hours for 1e12 tokens. */
  readonly hours: number;
  /** Shares of casts to FP8 that inference has not, of bubbles, and of what happens once a batch. */
  readonly casts: number;
  readonly bubbles: number;
  readonly batchEnd: number;
}

/**
 * H800 hours for a trillion tokens. A stage lasts as long as the mean of all work (layers, prediction module, and a BF16 head for each of both), and no
 * less than the fullest, which has four of 61 layers. The three dense layers, of the same operations, count like the others. Bubbles by DualPipe's formula.
 *
 * @param slower - factor on the time of layers.
 */
export function trainingHours(slower = 1): TrainingHours {
  const { backward, casts, weightGradients, both } = layerSeconds();
  const fullest = Math.ceil(model.layers / stages);
  const head = 3 * gemmSeconds(h800, 'bf16', { tokens, inputs: model.hidden, outputs: model.vocabulary });
  const work = (model.layers + model.mtpLayers) * slower * both + (1 + model.mtpLayers) * head;
  const stageSeconds = Math.max(work / stages, fullest * slower * both);
  const microBatches = sequences / (gpus / stages);
  const bubbles = (stages / 2 - 1) * fullest * slower * (both + backward - 3 * weightGradients);
  const batchEnd = batchEndSeconds();
  const batchSeconds = microBatches * stageSeconds + bubbles + batchEnd;
  return {
    hours: (batchSeconds * gpus * 1e12) / (sequences * tokens) / 3600,
    casts: (microBatches * fullest * slower * casts) / batchSeconds,
    bubbles: bubbles / batchSeconds,
    batchEnd: batchEnd / batchSeconds,
  };
}
