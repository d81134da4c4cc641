import type { Mtp, Pool, Precision } from '../cost/deployment.js';
import { SimulatorError } from '../errors.js';
import type { ModelShape } from '../model/model-shape.js';
import { linear, noWeights, sum, times, vector, type WeightFormat, type Weights } from './linear.js';

/** How the weights of a model are split over the GPUs of a unit. */
interface Split {
  /** Ways that attention heads and the vocabulary are split. */
  readonly tp: number;
  /** Ways that the width of every feed-forward block is split. */
  readonly width: number;
  /** Physical slots of routed experts of a layer on one GPU. */
  readonly slots: number;
}

/** Weights of one GPU by kind. */
export interface RankWeights {
  readonly attention: Weights;
  readonly dense: Weights;
  readonly sharedExperts: Weights;
  readonly routedExperts: Weights;
  /** Routing gates and norms. */
  readonly gates: Weights;
  /** Embedding and output head. */
  readonly embeddings: Weights;
  /** The multi-token prediction module, where it is used. */
  readonly mtp: Weights;
  readonly total: Weights;
  /** Physical expert slots of a layer on one GPU. */
  readonly slots: number;
  /** Weights of one expert of one layer as a slot of this GPU holds it. */
  readonly expertBytes: number;
}

/** What decides the weights of one GPU. */
export interface RankWeightsOptions {
  readonly model: ModelShape;
  readonly pool: Pick<Pool, 'tp' | 'dp' | 'ep' | 'redundantExperts'>;
  readonly precision: Pick<Precision, 'weights'>;
  readonly mtp?: Pick<Mtp, 'enabled'>;
}

/**
 * Weights of the whole checkpoint, multi-token prediction modules with their own embedding and head included, as published.
 *
 * DeepSeek-V3 in FP8: 684,489,845,504 parameters in 688,574,839,360 bytes.
 */
export function checkpointWeights(model: ModelShape, weights: WeightFormat): Weights {
  const whole: Split = { tp: 1, width: 1, slots: model.experts };
  const embeddings = embeddingWeights(model, whole);
  const parts = mainWeights(model, whole, weights);
  const module = sum(mtpWeights(model, whole, weights), embeddings);
  return sum(...Object.values(parts), embeddings, times(model.mtpLayers, module));
}

/**
 * Weights that one GPU of a pool holds, replicas of experts included.
 *
 * Attention heads and the vocabulary are split over `tp`; latent projections, gates, norms, dense feed-forward blocks and shared
 * experts are on every GPU (DeepSeek-V3 report section 3.4); where an expert's width is split, so are dense and shared blocks. The
 * prediction module has no redundant experts and shares embedding and head with the model. With `fp4`, feed-forward blocks are
 * NVFP4 and attention stays FP8.
 *
 * @throws SimulatorError `simulator/infeasible` where the model cannot be split so.
 */
export function rankWeights({ model, pool, precision, mtp }: RankWeightsOptions): RankWeights {
  const split = splitOf(model, pool);
  const parts = mainWeights(model, split, precision.weights);
  const embeddings = embeddingWeights(model, split);
  const module =
    mtp?.enabled === true && model.mtpLayers > 0
      ? mtpWeights(model, { ...split, slots: Math.ceil(model.experts / pool.ep) }, precision.weights)
      : noWeights;
  return {
    ...parts,
    embeddings,
    mtp: module,
    total: sum(...Object.values(parts), embeddings, module),
    slots: split.slots,
    expertBytes: feedForward(model.hidden, model.expertIntermediate, split.width, precision.weights).bytes,
  };
}

function splitOf(model: ModelShape, pool: RankWeightsOptions['pool']): Split {
  const { tp, dp, ep, redundantExperts } = pool;
  const width = (tp * dp) / ep;
  if (model.heads % tp !== 0)
    throw cannotSplit(
      `expected tp to divide ${model.heads} attention heads, got ${tp}`,
      tp,
      'choose a tp that divides the heads',
    );
  if (!Number.isInteger(width))
    throw cannotSplit(`expected ep to divide tp x dp = ${tp * dp}, got ${ep}`, ep, 'choose ep = tp x dp');
  const replicas = model.experts + redundantExperts;
  if (replicas % ep !== 0) {
    const more = redundantExperts + ep - (replicas % ep);
    throw cannotSplit(
      `expected experts and redundant experts, ${replicas}, to be a multiple of ep, got ep ${ep}`,
      redundantExperts,
      `use ${more} redundant experts: ${(model.experts + more) / ep} slots on every GPU`,
    );
  }
  if (
    model.expertIntermediate % width !== 0 ||
    (model.denseLayers > 0 && model.denseIntermediate % width !== 0)
  )
    throw cannotSplit(
      `expected tp x dp / ep = ${width} to divide the width ${model.expertIntermediate} of an expert`,
      width,
      'raise ep: the width of an expert is split tp x dp / ep ways',
    );
  return { tp, width, slots: replicas / ep };
}

function cannotSplit(message: string, value: unknown, remedy: string): SimulatorError {
  return new SimulatorError({ code: 'simulator/infeasible', message, value, remedy });
}

function mainWeights(model: ModelShape, split: Split, weights: WeightFormat) {
  const { layers, denseLayers, hidden, denseIntermediate, expertIntermediate, sharedExperts } = model;
  const moeLayers = layers - denseLayers;
  return {
    attention: times(layers, attentionWeights(model, split, weights)),
    dense: times(denseLayers, feedForward(hidden, denseIntermediate, split.width, weights)),
    sharedExperts: times(
      moeLayers,
      feedForward(hidden, sharedExperts * expertIntermediate, split.width, weights),
    ),
    routedExperts: times(
      moeLayers * split.slots,
      feedForward(hidden, expertIntermediate, split.width, weights),
    ),
    gates: sum(times(moeLayers, gateWeights(model)), times(layers, vector(2 * hidden)), vector(hidden)),
  };
}

/** Multi-head latent attention of a layer with its two inner norms. */
function attentionWeights(model: ModelShape, { tp }: Split, weights: WeightFormat): Weights {
  const { hidden, qLoraRank, kvLoraRank, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = model;
  const heads = model.heads / tp;
  const format = weights === 'fp4' ? 'fp8' : weights;
  const queries = heads * (qkNopeHeadDim + qkRopeHeadDim);
  const query =
    qLoraRank === null
      ? linear(queries, hidden, format)
      : sum(linear(qLoraRank, hidden, format), vector(qLoraRank), linear(queries, qLoraRank, format));
  return sum(
    query,
    linear(kvLoraRank + qkRopeHeadDim, hidden, format),
    vector(kvLoraRank),
    linear(heads * (qkNopeHeadDim + vHeadDim), kvLoraRank, format),
    linear(hidden, heads * vHeadDim, format),
  );
}

/** Gate, up and down projection, their width split `ways` ways. */
function feedForward(hidden: number, intermediate: number, ways: number, weights: WeightFormat): Weights {
  if (intermediate === 0) return noWeights;
  const width = intermediate / ways;
  return sum(times(2, linear(width, hidden, weights)), linear(hidden, width, weights));
}

/** BF16 routing weights and the float32 bias of loss-free balancing. */
function gateWeights({ experts, hidden }: ModelShape): Weights {
  return sum(linear(experts, hidden, 'bf16'), vector(experts, 4));
}

function embeddingWeights({ vocabulary, hidden, tiedEmbeddings }: ModelShape, { tp }: Split): Weights {
  return times(tiedEmbeddings ? 1 : 2, linear(Math.ceil(vocabulary / tp), hidden, 'bf16'));
}

/** A prediction module without embedding and head: projection of two hidden states, three norms, one layer. */
function mtpWeights(model: ModelShape, split: Split, weights: WeightFormat): Weights {
  const { hidden, sharedExperts, expertIntermediate } = model;
  return sum(
    linear(hidden, 2 * hidden, 'bf16'),
    vector(3 * hidden),
    attentionWeights(model, split, weights),
    vector(2 * hidden),
    gateWeights(model),
    feedForward(hidden, sharedExperts * expertIntermediate, split.width, weights),
    times(split.slots, feedForward(hidden, expertIntermediate, split.width, weights)),
  );
}
