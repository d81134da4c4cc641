import type { Mtp, Pool, Precision } from '../cost/deployment.js';
import type { Accelerator } from '../hardware/accelerator.js';
import type { ModelShape } from '../model/model-shape.js';
import { type Activations, activationBytes } from './activations.js';
import { type RankWeights, rankWeights } from './weights.js';

/** CUDA context, NCCL, captured graphs and fragmentation of the allocator. */
const defaultReservedBytes = 3 * 2 ** 30;

/** What {@link memoryPlan} computes with. */
export interface MemoryPlanOptions {
  readonly accelerator: Pick<Accelerator, 'memoryBytes'>;
  readonly model: ModelShape;
  readonly phase: 'prefill' | 'decode' | 'both';
  readonly pool: Pool;
  readonly precision: Precision;
  readonly mtp: Mtp;
  readonly blockSizeTokens: number;
  /** Rows of the busiest GPU over the mean; default 1. */
  readonly imbalance?: number;
  /** Memory that the runtime keeps for itself; default 3 GiB. */
  readonly reservedBytes?: number;
}

/** Where the memory of one GPU goes. */
export interface MemoryPlan {
  readonly capacityBytes: number;
  readonly weights: RankWeights;
  readonly activations: Activations;
  readonly reservedBytes: number;
  /** KV cache of one token on one GPU; every GPU of a tensor-parallel group holds the whole latent. */
  readonly kvBytesPerToken: number;
  /** What is left for KV, in whole blocks. */
  readonly kvBytes: number;
  /** Tokens of KV of a data-parallel rank. */
  readonly kvTokens: number;
  /** Whether weights, working buffers and one block of KV fit. */
  readonly fits: boolean;
  /** Bytes that are missing, 0 if it fits. */
  readonly shortageBytes: number;
}

/** KV cache of one token: the latent and the rotated key of every layer, of the prediction module too where it is used. */
export function kvBytesPerToken(
  model: ModelShape,
  attention: Precision['attention'],
  mtp?: Pick<Mtp, 'enabled'>,
): number {
  const layers = model.layers + (mtp?.enabled === true ? Math.min(1, model.mtpLayers) : 0);
  return layers * (model.kvLoraRank + model.qkRopeHeadDim) * (attention === 'fp8' ? 1 : 2);
}

/**
 * The memory of one GPU of a pool: weights and KV to the byte, working buffers by the tensors that live at the peak.
 *
 * @throws SimulatorError `simulator/infeasible` where the model cannot be split so.
 *
 * @example
 * ```ts
 * import { deepSeekV3, memoryPlan } from '@moestack/simulator';
 *
 * const plan = memoryPlan({
 *   accelerator: { memoryBytes: 80 * 2 ** 30 }, model: deepSeekV3, phase: 'decode', blockSizeTokens: 64,
 *   precision: { weights: 'fp8', attention: 'bf16', dispatch: 'fp8' }, mtp: { enabled: false, draftTokens: 1, acceptance: 0 },
 *   pool: {
 *     units: 1, gpusPerNode: 8, tp: 1, dp: 144, ep: 144, redundantExperts: 32, maxTokensPerRank: 128, maxSequencesPerRank: 128,
 *     overlap: { enabled: true, communicationSms: 0 },
 *   },
 * });
 * console.log(plan.weights.slots, plan.kvTokens);
 * ```
 */
export function memoryPlan(options: MemoryPlanOptions): MemoryPlan {
  const { accelerator, model, phase, pool, precision, mtp, blockSizeTokens } = options;
  const { imbalance = 1, reservedBytes = defaultReservedBytes } = options;
  const weights = rankWeights({ model, pool, precision, mtp });
  const phases = phase === 'both' ? (['prefill', 'decode'] as const) : [phase];
  const activations = phases
    .map((each) =>
      activationBytes({ phase: each, model, pool, precision, mtp, slots: weights.slots, imbalance }),
    )
    .reduce((a, b) => (b.peakBytes > a.peakBytes ? b : a));
  const perToken = kvBytesPerToken(model, precision.attention, mtp);
  const left = accelerator.memoryBytes - weights.total.bytes - activations.peakBytes - reservedBytes;
  const blockBytes = blockSizeTokens * perToken;
  const blocks = Math.max(0, Math.floor(left / blockBytes));
  return {
    capacityBytes: accelerator.memoryBytes,
    weights,
    activations,
    reservedBytes,
    kvBytesPerToken: perToken,
    kvBytes: blocks * blockBytes,
    kvTokens: blocks * blockSizeTokens,
    fits: blocks > 0,
    shortageBytes: blocks > 0 ? 0 : Math.ceil(blockBytes - left),
  };
}
