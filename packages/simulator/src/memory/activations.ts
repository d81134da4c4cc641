import type { Mtp, Pool, Precision } from '../cost/deployment.js';
import type { ModelShape } from '../model/model-shape.js';

/** What decides the size of the working buffers of one GPU. */
export interface ActivationOptions {
  readonly phase: 'prefill' | 'decode';
  readonly model: ModelShape;
  readonly pool: Pool;
  readonly precision: Precision;
  readonly mtp: Mtp;
  /** Physical expert slots of a layer on one GPU. */
  readonly slots: number;
  /** Rows of the busiest GPU over the mean. */
  readonly imbalance: number;
}

/** Working buffers of one GPU at their peak. */
export interface Activations {
  /** Residual stream of all micro-batches. */
  readonly residualBytes: number;
  /** Queries, keys, values and output of core attention. */
  readonly attentionBytes: number;
  /** Received rows and both products of the expert GEMMs. */
  readonly expertBytes: number;
  /** Logits in float32, and their probabilities. */
  readonly logitsBytes: number;
  /** Send and receive buffers of dispatch and combine. */
  readonly communicationBytes: number;
  /** What is alive at once. */
  readonly peakBytes: number;
}

/** Staging that DeepEP's normal kernels keep for NVLink and RDMA together. */
const normalBufferBytes = 2 ** 30;

/**
 * Peak of the working buffers of one GPU, from the sizes of the tensors that live together.
 *
 * Prefill computes keys and values of all heads; decode works on the latent. Two overlapped micro-batches hold an attention and an
 * expert stage at once; otherwise the larger of the two counts. Decode with expert parallelism pads every expert slot to the most
 * tokens that all ranks could send, as DeepEP's low-latency kernels do.
 */
export function activationBytes(options: ActivationOptions): Activations {
  const { phase, model, pool, mtp } = options;
  const tokens =
    phase === 'prefill'
      ? pool.maxTokensPerRank
      : pool.maxSequencesPerRank * (mtp.enabled ? 1 + mtp.draftTokens : 1);
  const batches = pool.overlap.enabled ? 2 : 1;
  const microBatch = Math.ceil(tokens / batches);
  const residualBytes = 2 * 2 * tokens * model.hidden;
  const attention = attentionBytes(options, microBatch);
  // Between attention and experts every GPU of a tensor-parallel group has its own share of the tokens.
  const { expertBytes, communicationBytes } = expertBuffers(options, Math.ceil(microBatch / pool.tp));
  const sampled = phase === 'prefill' ? Math.min(pool.maxSequencesPerRank, tokens) : tokens;
  const logitsBytes = 2 * 4 * sampled * Math.ceil(model.vocabulary / pool.tp);
  const layers = batches === 2 ? attention + expertBytes : Math.max(attention, expertBytes);
  return {
    residualBytes,
    attentionBytes: attention,
    expertBytes,
    logitsBytes,
    communicationBytes,
    peakBytes: communicationBytes + residualBytes + Math.max(layers, logitsBytes),
  };
}

function attentionBytes({ phase, model, pool }: ActivationOptions, tokens: number): number {
  const { hidden, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = model;
  const heads = model.heads / pool.tp;
  const latent = (qLoraRank ?? 0) + kvLoraRank + qkRopeHeadDim;
  const perHead =
    phase === 'prefill'
      ? 2 * (qkNopeHeadDim + qkRopeHeadDim) + 2 * vHeadDim
      : qkNopeHeadDim + qkRopeHeadDim + kvLoraRank + qkRopeHeadDim + kvLoraRank;
  return 2 * tokens * (hidden + latent + heads * perHead);
}

function expertBuffers(
  { phase, model, pool, precision, slots, imbalance }: ActivationOptions,
  tokens: number,
): { expertBytes: number; communicationBytes: number } {
  const { hidden, expertIntermediate, topK, experts } = model;
  const { ep } = pool;
  const width = (expertIntermediate * ep) / (pool.tp * pool.dp);
  const operand = precision.weights === 'bf16' ? 2 : 1;
  const lowLatency = phase === 'decode' && ep > 1;
  const rows = lowLatency ? slots * ep * tokens : Math.ceil(tokens * topK * imbalance);
  const gateUp = rows * (operand * hidden + 2 * 2 * width);
  const down = rows * (operand * width + 2 * hidden);
  // Products of unequal size follow each other in one allocation.
  const products = Math.max(gateUp, down);
  if (ep === 1) return { expertBytes: products, communicationBytes: 0 };
  const received = lowLatency ? 0 : Math.min(rows, tokens * ep) * receivedRowBytes(model, precision);
  if (!lowLatency) return { expertBytes: products + received, communicationBytes: normalBufferBytes };
  return {
    expertBytes: products,
    communicationBytes: lowLatencyBufferBytes(model, experts + pool.redundantExperts, tokens),
  };
}

/** A received token: values, a float32 scale for 128 of them, ids and weights of its experts. */
function receivedRowBytes({ hidden, topK }: ModelShape, { dispatch }: Precision): number {
  const values = dispatch === 'bf16' ? 2 * hidden : hidden + 4 * Math.ceil(hidden / 128);
  return values + 8 * topK;
}

/**
 * RDMA memory of DeepEP's low-latency kernels: two buffers (results of two calls may be alive), each with a slot for
 * every expert and token to send and to receive.
 */
export function lowLatencyBufferBytes({ hidden }: ModelShape, replicas: number, tokens: number): number {
  const scales = Math.ceil(hidden / 128);
  const dispatch = 16 + Math.max(2 * hidden, hidden + 4 * scales);
  const combine = 2 * hidden + 4 * scales;
  const send = Math.max(tokens * dispatch, replicas * tokens * combine);
  const receive = replicas * tokens * Math.max(dispatch, combine);
  return 2 * (send + receive + 4 * 2 * replicas);
}
