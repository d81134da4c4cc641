import type { TrainModel } from '@moestack/schemas';

/**
 * What a parameter is: `projection`s run in the numerics of the recipe and are stored as FP8 blocks, all others stay in
 * high precision. Only matrices decay; `norm`s start as 1.
 */
export type ParameterKind = 'embedding' | 'head' | 'router' | 'projection' | 'norm';

/** One tensor of the network inside the flat weight array. */
export interface Parameter {
  /** Hugging Face name. */
  readonly name: string;
  readonly kind: ParameterKind;
  readonly rows: number;
  readonly cols: number;
  /** First element in the flat arrays, a multiple of 16. */
  readonly offset: number;
  /** Standard deviation at the start. */
  readonly deviation: number;
}

/** All parameters, and the length of flat arrays that hold them. */
export interface ParameterPlan {
  readonly parameters: readonly Parameter[];
  readonly byName: ReadonlyMap<string, Parameter>;
  /** Elements of the flat arrays, padding included. */
  readonly length: number;
  /** Elements without padding. */
  readonly count: number;
  /** Elements that one token uses. */
  readonly activeCount: number;
}

const DEVIATION = 0.02;

/** Lays out the parameters in the order in which the network runs. */
export function planParameters(model: TrainModel): ParameterPlan {
  const parameters: Parameter[] = [];
  let offset = 0;
  let count = 0;
  let activeCount = 0;
  // Outputs into the residual stream are scaled down by depth: without it every token prefers the same experts at first.
  const outputDeviation = DEVIATION / Math.sqrt(2 * model.layers);
  const add = (
    name: string,
    kind: ParameterKind,
    rows: number,
    cols: number,
    share = 1,
    deviation = DEVIATION,
  ): void => {
    parameters.push({ name, kind, rows, cols, offset, deviation: kind === 'norm' ? 0 : deviation });
    offset += Math.ceil((rows * cols) / 16) * 16;
    count += rows * cols;
    activeCount += rows * cols * share;
  };
  const mlp = (prefix: string, width: number, share = 1): void => {
    add(`${prefix}.gate_proj.weight`, 'projection', width, model.hiddenSize, share);
    add(`${prefix}.up_proj.weight`, 'projection', width, model.hiddenSize, share);
    add(`${prefix}.down_proj.weight`, 'projection', model.hiddenSize, width, share, outputDeviation);
  };
  const { hiddenSize, heads, nopeDims, ropeDims, valueDims } = model;
  // One row of the embedding is looked up for a token.
  add('model.embed_tokens.weight', 'embedding', model.vocabularySize, hiddenSize, 1 / model.vocabularySize);
  for (let layer = 0; layer < model.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    const attention = `${prefix}.self_attn`;
    add(`${prefix}.input_layernorm.weight`, 'norm', 1, hiddenSize);
    const queryWidth = heads * (nopeDims + ropeDims);
    if (model.queryRank > 0) {
      add(`${attention}.q_a_proj.weight`, 'projection', model.queryRank, hiddenSize);
      add(`${attention}.q_a_layernorm.weight`, 'norm', 1, model.queryRank);
      add(`${attention}.q_b_proj.weight`, 'projection', queryWidth, model.queryRank);
    } else add(`${attention}.q_proj.weight`, 'projection', queryWidth, hiddenSize);
    add(`${attention}.kv_a_proj_with_mqa.weight`, 'projection', model.keyValueRank + ropeDims, hiddenSize);
    add(`${attention}.kv_a_layernorm.weight`, 'norm', 1, model.keyValueRank);
    add(`${attention}.kv_b_proj.weight`, 'projection', heads * (nopeDims + valueDims), model.keyValueRank);
    add(`${attention}.o_proj.weight`, 'projection', hiddenSize, heads * valueDims, 1, outputDeviation);
    add(`${prefix}.post_attention_layernorm.weight`, 'norm', 1, hiddenSize);
    if (layer < model.denseLayers) {
      mlp(`${prefix}.mlp`, model.denseWidth);
      continue;
    }
    add(`${prefix}.mlp.gate.weight`, 'router', model.experts, hiddenSize);
    for (let expert = 0; expert < model.experts; expert++) {
      mlp(`${prefix}.mlp.experts.${expert}`, model.expertWidth, model.topK / model.experts);
    }
    if (model.sharedExperts > 0) mlp(`${prefix}.mlp.shared_experts`, model.sharedExperts * model.expertWidth);
  }
  add('model.norm.weight', 'norm', 1, hiddenSize);
  add('lm_head.weight', 'head', model.vocabularySize, hiddenSize);
  const byName = new Map(parameters.map((parameter) => [parameter.name, parameter]));
  return { parameters, byName, length: offset, count, activeCount: Math.round(activeCount) };
}

/** Fills the flat weights from a seed: N(0, deviation), norms 1. */
export function initialiseParameters(plan: ParameterPlan, weights: Float32Array, seed: number): void {
  const next = generator(seed);
  for (const { kind, rows, cols, offset, deviation } of plan.parameters) {
    const size = rows * cols;
    if (kind === 'norm') weights.fill(1, offset, offset + size);
    else {
      for (let i = 0; i < size; i += 2) {
        // Box and Muller; 1 - u lies in (0, 1].
        const radius = deviation * Math.sqrt(-2 * Math.log(1 - next()));
        const angle = 2 * Math.PI * next();
        weights[offset + i] = radius * Math.cos(angle);
        if (i + 1 < size) weights[offset + i + 1] = radius * Math.sin(angle);
      }
    }
  }
}

/** Uniform numbers in [0, 1) of 53 bits, from xoshiro128** seeded by splitmix32. */
function generator(seed: number): () => number {
  let mix = (seed ^ Math.floor(seed / 2 ** 32)) >>> 0;
  const state = Uint32Array.from({ length: 4 }, () => {
    mix = (mix + 0x9e3779b9) >>> 0;
    let z = mix;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  });
  const word = (): number => {
    const s1 = state[1]!;
    const product = Math.imul(s1, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    state[2] = state[2]! ^ state[0]!;
    state[3] = state[3]! ^ s1;
    state[1] = s1 ^ state[2]!;
    state[0] = state[0]! ^ state[3]!;
    state[2] = state[2]! ^ (s1 << 9);
    state[3] = (state[3]! << 11) | (state[3]! >>> 21);
    return result;
  };
  return () => ((word() >>> 5) * 2 ** 26 + (word() >>> 6)) / 2 ** 53;
}
