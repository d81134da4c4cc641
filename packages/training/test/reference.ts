import type { TrainConfig } from '@moestack/schemas';

/** Weights in float64 by Hugging Face name. */
export type Weights = ReadonlyMap<string, Float64Array>;

/**
 * The mean cross-entropy of a batch, computed one token and one scalar at a time in float64 from the definitions, with the
 * experts of each token given. Plus, where the configuration has one, the sequence-wise balance loss.
 *
 * @param indices - chosen experts `[tokens, topK]` of each expert layer.
 */
export function referenceLoss(
  config: TrainConfig,
  weights: Weights,
  batch: Int32Array,
  indices: readonly Int32Array[],
): number {
  const { model, contextTokens: context } = config;
  const sequences = batch.length / (context + 1);
  let loss = 0;
  let balance = 0;
  for (let s = 0; s < sequences; s++) {
    const ids = batch.subarray(s * (context + 1), (s + 1) * (context + 1));
    let x: number[][] = [];
    for (let t = 0; t < context; t++)
      x.push(row(weights, 'model.embed_tokens.weight', ids[t]!, model.hiddenSize));
    let expertLayer = 0;
    for (let layer = 0; layer < model.layers; layer++) {
      const prefix = `model.layers.${layer}`;
      const normed = x.map((v) => norm(v, weights.get(`${prefix}.input_layernorm.weight`)!, model.epsilon));
      const attended = attention(config, weights, `${prefix}.self_attn`, normed);
      x = x.map((v, t) => add(v, attended[t]!));
      const isDense = layer < model.denseLayers;
      const before = x.map((v) =>
        norm(v, weights.get(`${prefix}.post_attention_layernorm.weight`)!, model.epsilon),
      );
      const chosen = isDense ? undefined : indices[expertLayer++]!.subarray(s * context * model.topK);
      if (chosen !== undefined) balance += balanceLoss(config, weights, prefix, before, chosen) / sequences;
      x = x.map((v, t) =>
        add(
          v,
          chosen === undefined
            ? mlp(weights, `${prefix}.mlp`, before[t]!)
            : experts(
                config,
                weights,
                prefix,
                before[t]!,
                chosen.subarray(t * model.topK, (t + 1) * model.topK),
              ),
        ),
      );
    }
    for (let t = 0; t < context; t++) {
      const last = norm(x[t]!, weights.get('model.norm.weight')!, model.epsilon);
      const logits = product(weights.get('lm_head.weight')!, last);
      const peak = Math.max(...logits);
      const total = logits.reduce((sum, z) => sum + Math.exp(z - peak), 0);
      loss += peak + Math.log(total) - logits[ids[t + 1]!]!;
    }
  }
  return loss / (sequences * context) + balance;
}

function attention(config: TrainConfig, weights: Weights, prefix: string, x: number[][]): number[][] {
  const { model } = config;
  const { heads, nopeDims, ropeDims, valueDims, keyValueRank, epsilon } = model;
  const of = (name: string): Float64Array => weights.get(`${prefix}.${name}.weight`)!;
  const queries = x.map((v, t) => {
    const q =
      model.queryRank === 0
        ? product(of('q_proj'), v)
        : product(of('q_b_proj'), norm(product(of('q_a_proj'), v), of('q_a_layernorm'), epsilon));
    return heads_(q, heads, nopeDims + ropeDims).map((h) => [
      ...h.slice(0, nopeDims),
      ...rotate(h.slice(nopeDims), t, model.ropeTheta),
    ]);
  });
  const keys: number[][][] = [];
  const values: number[][][] = [];
  x.forEach((v, t) => {
    const latent = product(of('kv_a_proj_with_mqa'), v);
    const shared = rotate(latent.slice(keyValueRank), t, model.ropeTheta);
    const expanded = product(
      of('kv_b_proj'),
      norm(latent.slice(0, keyValueRank), of('kv_a_layernorm'), epsilon),
    );
    const split = heads_(expanded, heads, nopeDims + valueDims);
    keys.push(split.map((h) => [...h.slice(0, nopeDims), ...shared]));
    values.push(split.map((h) => h.slice(nopeDims)));
  });
  return x.map((_, t) => {
    const out: number[] = [];
    for (let h = 0; h < heads; h++) {
      const scores: number[] = [];
      for (let u = 0; u <= t; u++)
        scores.push(dot(queries[t]![h]!, keys[u]![h]!) / Math.sqrt(nopeDims + ropeDims));
      const peak = Math.max(...scores);
      const exponentials = scores.map((z) => Math.exp(z - peak));
      const total = exponentials.reduce((sum, e) => sum + e, 0);
      for (let d = 0; d < valueDims; d++) {
        let sum = 0;
        for (let u = 0; u <= t; u++) sum += (exponentials[u]! / total) * values[u]![h]![d]!;
        out.push(sum);
      }
    }
    return product(of('o_proj'), out);
  });
}

function experts(
  config: TrainConfig,
  weights: Weights,
  prefix: string,
  x: number[],
  chosen: Int32Array,
): number[] {
  const { sharedExperts, routedScalingFactor } = config.model;
  const scores = product(weights.get(`${prefix}.mlp.gate.weight`)!, x).map(sigmoid);
  const total = [...chosen].reduce((sum, e) => sum + scores[e]!, 0);
  let out = sharedExperts > 0 ? mlp(weights, `${prefix}.mlp.shared_experts`, x) : x.map(() => 0);
  for (const e of chosen) {
    const weight = (routedScalingFactor * scores[e]!) / total;
    out = add(
      out,
      mlp(weights, `${prefix}.mlp.experts.${e}`, x).map((v) => v * weight),
    );
  }
  return out;
}

/** alpha sum_i f_i P_i of one sequence (DeepSeek-V3, equations 17 to 20), counting the routed experts. */
function balanceLoss(
  config: TrainConfig,
  weights: Weights,
  prefix: string,
  x: number[][],
  chosen: Int32Array,
): number {
  const { experts: count, topK } = config.model;
  const alpha = config.balance.sequenceLoss;
  if (alpha === 0) return 0;
  const fractions = new Float64Array(count);
  const affinities = new Float64Array(count);
  x.forEach((v, t) => {
    const scores = product(weights.get(`${prefix}.mlp.gate.weight`)!, v).map(sigmoid);
    const total = scores.reduce((sum, z) => sum + z, 0);
    scores.forEach((z, e) => {
      affinities[e]! += z / total / x.length;
    });
    for (let k = 0; k < topK; k++) fractions[chosen[t * topK + k]!]! += count / (topK * x.length);
  });
  return alpha * fractions.reduce((sum, f, e) => sum + f * affinities[e]!, 0);
}

function mlp(weights: Weights, prefix: string, x: number[]): number[] {
  const gate = product(weights.get(`${prefix}.gate_proj.weight`)!, x);
  const up = product(weights.get(`${prefix}.up_proj.weight`)!, x);
  return product(
    weights.get(`${prefix}.down_proj.weight`)!,
    gate.map((g, i) => g * sigmoid(g) * up[i]!),
  );
}

function norm(x: number[], gain: Float64Array, epsilon: number): number[] {
  const mean = x.reduce((sum, v) => sum + v * v, 0) / x.length;
  return x.map((v, i) => (v / Math.sqrt(mean + epsilon)) * gain[i]!);
}

function rotate(x: number[], position: number, theta: number): number[] {
  const out = [...x];
  for (let d = 0; d < x.length; d += 2) {
    const angle = position * theta ** (-d / x.length);
    out[d] = x[d]! * Math.cos(angle) - x[d + 1]! * Math.sin(angle);
    out[d + 1] = x[d]! * Math.sin(angle) + x[d + 1]! * Math.cos(angle);
  }
  return out;
}

function heads_(x: number[], heads: number, dims: number): number[][] {
  return Array.from({ length: heads }, (_, h) => x.slice(h * dims, (h + 1) * dims));
}

function row(weights: Weights, name: string, index: number, cols: number): number[] {
  return [...weights.get(name)!.subarray(index * cols, (index + 1) * cols)];
}

function product(matrix: Float64Array, x: number[]): number[] {
  const out: number[] = [];
  for (let r = 0; r < matrix.length / x.length; r++) {
    let sum = 0;
    for (let c = 0; c < x.length; c++) sum += matrix[r * x.length + c]! * x[c]!;
    out.push(sum);
  }
  return out;
}

function dot(x: number[], y: number[]): number {
  return x.reduce((sum, v, i) => sum + v * y[i]!, 0);
}

function add(x: number[], y: number[]): number[] {
  return x.map((v, i) => v + y[i]!);
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
