import { KeptRows } from '../kept-rows.js';
import { LinearLayer, SavedInput, SavedRows } from '../linear-layer.js';
import type { Runtime } from '../runtime.js';
import { RmsNorm } from './rms-norm.js';

/** Room that the attention modules of a network share. */
export interface AttentionScratch {
  readonly queries: Float32Array;
  readonly keys: Float32Array;
  readonly expanded: Float32Array;
  readonly output: Float32Array;
  readonly queryGradients: Float32Array;
  readonly keyGradients: Float32Array;
  readonly expandedGradients: Float32Array;
  readonly outputGradients: Float32Array;
  /** Gradients of the latents, and of what the norms made of them. */
  readonly latent: Float32Array;
  readonly compressed: Float32Array;
  /** Room for kept inputs of the norms. */
  readonly latentInputs: Float32Array;
  readonly queryInputs: Float32Array;
  /** Three matrices `[context, context]`. */
  readonly scores: readonly [Float32Array, Float32Array, Float32Array];
  /** `[tokens]`: position of each token in its sequence; `[context]`: keys that each position sees. */
  readonly positions: Int32Array;
  readonly lengths: Int32Array;
  readonly rotations: Float32Array;
  readonly inverseRotations: Float32Array;
}

/** Allocates the shared room and fills the tables. */
export function attentionScratch(runtime: Runtime): AttentionScratch {
  const { arena, tokens, config } = runtime;
  const { model, contextTokens } = config;
  const { heads, nopeDims, ropeDims, valueDims } = model;
  const query = tokens * heads * (nopeDims + ropeDims);
  const expanded = tokens * heads * (nopeDims + valueDims);
  const output = tokens * heads * valueDims;
  const square = contextTokens * contextTokens;
  const scratch: AttentionScratch = {
    queries: arena.f32(Math.max(query, tokens * model.queryRank)),
    keys: arena.f32(query),
    expanded: arena.f32(expanded),
    output: arena.f32(output),
    queryGradients: arena.f32(query),
    keyGradients: arena.f32(query),
    expandedGradients: arena.f32(expanded),
    outputGradients: arena.f32(output),
    latent: arena.f32(tokens * (model.keyValueRank + ropeDims)),
    compressed: arena.f32(tokens * Math.max(model.queryRank, model.keyValueRank)),
    latentInputs: arena.f32(tokens * (model.keyValueRank + ropeDims)),
    queryInputs: arena.f32(tokens * model.queryRank),
    scores: [arena.f32(square), arena.f32(square), arena.f32(square)],
    positions: arena.i32(tokens),
    lengths: arena.i32(contextTokens),
    rotations: arena.f32(contextTokens * ropeDims),
    inverseRotations: arena.f32(contextTokens * ropeDims),
  };
  for (let t = 0; t < tokens; t++) scratch.positions[t] = t % contextTokens;
  for (let t = 0; t < contextTokens; t++) {
    scratch.lengths[t] = t + 1;
    for (let d = 0; d < ropeDims; d += 2) {
      const angle = t * model.ropeTheta ** (-d / ropeDims);
      scratch.rotations[t * ropeDims + d] = Math.cos(angle);
      scratch.rotations[t * ropeDims + d + 1] = Math.sin(angle);
      scratch.inverseRotations[t * ropeDims + d] = Math.cos(angle);
      scratch.inverseRotations[t * ropeDims + d + 1] = -Math.sin(angle);
    }
  }
  return scratch;
}

/**
 * Multi-head latent attention (DeepSeek-V2, section 2.1) over whole sequences. Keeps the inputs of its projections and of
 * its two norms; expanded queries, keys, values and probabilities are computed anew in backward.
 */
export class Attention {
  readonly input: SavedInput;
  readonly #runtime: Runtime;
  readonly #scratch: AttentionScratch;
  readonly #queryA: LinearLayer | undefined;
  readonly #queryNorm: RmsNorm | undefined;
  readonly #queryB: LinearLayer;
  readonly #latentA: LinearLayer;
  readonly #latentNorm: RmsNorm;
  readonly #latentB: LinearLayer;
  readonly #outputLayer: LinearLayer;
  readonly #queryCompressed: KeptRows | undefined;
  readonly #queryInput: SavedInput;
  readonly #latent: KeptRows;
  readonly #latentInput: SavedInput;
  readonly #outputInput: SavedInput;
  readonly #scale: number;

  constructor(runtime: Runtime, prefix: string, scratch: AttentionScratch) {
    const { tokens, recipes } = runtime;
    const { model } = runtime.config;
    const { hiddenSize, queryRank, keyValueRank, nopeDims, ropeDims, valueDims, heads } = model;
    const base = recipes.default;
    this.#runtime = runtime;
    this.#scratch = scratch;
    const saved = (cols: number, isRecomputed: boolean, recipe = base): SavedInput =>
      new SavedInput(runtime, new SavedRows(runtime, recipe, tokens, cols), isRecomputed);
    this.input = saved(hiddenSize, queryRank === 0);
    this.#queryInput = this.input;
    const linear = (name: string, recipe = base): LinearLayer =>
      new LinearLayer(runtime, `${prefix}.${name}.weight`, recipe);
    if (queryRank > 0) {
      this.#queryA = linear('q_a_proj');
      this.#queryNorm = new RmsNorm(runtime, `${prefix}.q_a_layernorm.weight`, { accumulate: false });
      this.#queryCompressed = new KeptRows(runtime, scratch.queryInputs);
      this.#queryInput = saved(queryRank, true);
    }
    this.#queryB = linear(queryRank > 0 ? 'q_b_proj' : 'q_proj');
    this.#latentA = linear('kv_a_proj_with_mqa');
    this.#latentNorm = new RmsNorm(runtime, `${prefix}.kv_a_layernorm.weight`, {
      stride: keyValueRank + ropeDims,
      accumulate: false,
    });
    this.#latent = new KeptRows(runtime, scratch.latentInputs);
    this.#latentInput = saved(keyValueRank, true);
    this.#latentB = linear('kv_b_proj');
    this.#outputLayer = linear('o_proj', recipes.afterAttention);
    this.#outputInput = saved(heads * valueDims, false, recipes.afterAttention);
    this.#scale = (nopeDims + ropeDims) ** -0.5;
  }

  /** y of x, both `[tokens, hidden]`. */
  forward(x: Float32Array, y: Float32Array): void {
    const { kernels, tokens, config } = this.#runtime;
    const { compressed, output } = this.#scratch;
    this.input.save(x, tokens, 0);
    if (this.#queryA !== undefined) {
      const kept = this.#queryCompressed!;
      this.#queryA.forward(this.input, kept.values);
      kept.keep();
      this.#queryNorm!.forward(kept.values, compressed, tokens);
      this.#queryInput.save(compressed, tokens, 0);
    }
    this.#latentA.forward(this.input, this.#latent.values);
    this.#rotateLatent(this.#latent.values, this.#scratch.rotations);
    this.#latent.keep();
    this.#latentNorm.forward(this.#latent.values, compressed, tokens);
    this.#latentInput.save(compressed, tokens, 0);
    this.input.release();
    this.#expand();
    const { heads, nopeDims, ropeDims, valueDims } = config.model;
    const context = config.contextTokens;
    const { queries, keys, expanded } = this.#scratch;
    const query = context * heads * (nopeDims + ropeDims);
    const width = heads * (nopeDims + valueDims);
    for (let s = 0; s < this.#runtime.sequences; s++) {
      kernels.causalAttention(
        queries.subarray(s * query, (s + 1) * query),
        keys.subarray(s * query, (s + 1) * query),
        expanded.subarray(s * context * width + nopeDims, (s + 1) * context * width),
        output.subarray(s * context * heads * valueDims, (s + 1) * context * heads * valueDims),
        {
          m: context,
          t: context,
          heads,
          qkDims: nopeDims + ropeDims,
          vDims: valueDims,
          start: 0,
          scale: this.#scale,
          vStride: width,
          vHeadStride: nopeDims + valueDims,
        },
      );
    }
    this.#outputInput.save(output, tokens, 0);
    this.#outputLayer.forward(this.#outputInput, y);
    this.#outputInput.release();
  }

  /** Sets dx `[tokens, hidden]`. */
  backward(dy: Float32Array, dx: Float32Array): void {
    const { tokens } = this.#runtime;
    const { outputGradients, queryGradients, expandedGradients, compressed, latent } = this.#scratch;
    this.#outputLayer.backward(this.#outputInput, dy, outputGradients, false);
    this.#latent.load();
    this.#queryCompressed?.load();
    const before = this.#runtime.macs;
    this.#expand();
    this.#runtime.countRepeated(before);
    this.#scoresBackward();
    this.#rotateQueries(queryGradients, this.#scratch.inverseRotations);
    this.#collectKeyGradients();
    this.#latentB.backward(this.#latentInput, expandedGradients, compressed, false);
    this.#latentNorm.backward(this.#latent.values, compressed, latent, tokens);
    this.#rotateLatent(latent, this.#scratch.inverseRotations);
    this.#latentA.backward(this.input, latent, dx, false);
    if (this.#queryA === undefined) {
      this.#queryB.backward(this.input, queryGradients, dx, true);
      return;
    }
    this.#queryB.backward(this.#queryInput, queryGradients, compressed, false);
    // The gradient of the norm's input takes the place of expanded gradients, which are done with.
    this.#queryNorm!.backward(this.#queryCompressed!.values, compressed, this.#scratch.queries, tokens);
    this.#queryA.backward(this.input, this.#scratch.queries, dx, true);
  }

  /** Bytes kept for backward. */
  get savedBytes(): number {
    const compressed = this.#queryCompressed === undefined ? 0 : this.#queryInput.bytes;
    const norms = this.#latent.bytes + (this.#queryCompressed?.bytes ?? 0);
    return this.input.bytes + compressed + this.#latentInput.bytes + this.#outputInput.bytes + norms;
  }

  /** Elements kept for backward. */
  get savedElements(): number {
    const { model } = this.#runtime.config;
    const { hiddenSize, queryRank, keyValueRank, ropeDims, heads, valueDims } = model;
    return (
      this.#runtime.tokens * (hiddenSize + 2 * queryRank + 2 * keyValueRank + ropeDims + heads * valueDims)
    );
  }

  /** Queries, keys and expanded keys and values, from what is kept. */
  #expand(): void {
    const { tokens, config } = this.#runtime;
    const { heads, nopeDims, ropeDims, valueDims, keyValueRank } = config.model;
    const { queries, keys, expanded, rotations } = this.#scratch;
    this.#queryB.forward(this.#queryInput, queries);
    this.#rotateQueries(queries, rotations);
    this.#latentB.forward(this.#latentInput, expanded);
    const latent = this.#latent.values;
    const dims = nopeDims + ropeDims;
    for (let t = 0; t < tokens; t++) {
      const rope = t * (keyValueRank + ropeDims) + keyValueRank;
      for (let h = 0; h < heads; h++) {
        const to = (t * heads + h) * dims;
        const from = (t * heads + h) * (nopeDims + valueDims);
        for (let d = 0; d < nopeDims; d++) keys[to + d] = expanded[from + d]!;
        for (let d = 0; d < ropeDims; d++) keys[to + nopeDims + d] = latent[rope + d]!;
      }
    }
  }

  /** Gradients of queries, keys and values, one sequence and head after the other. */
  #scoresBackward(): void {
    const { kernels, sequences, config, shape } = this.#runtime;
    const { heads, nopeDims, ropeDims, valueDims } = config.model;
    const context = config.contextTokens;
    const scratch = this.#scratch;
    const [p, gradient, turned] = scratch.scores;
    const dims = nopeDims + ropeDims;
    const width = nopeDims + valueDims;
    const options = { scale: this.#scale, lengths: scratch.lengths };
    for (let s = 0; s < sequences; s++) {
      for (let h = 0; h < heads; h++) {
        const atQuery = (s * context * heads + h) * dims;
        const atValue = (s * context * heads + h) * width + nopeDims;
        const atOutput = (s * context * heads + h) * valueDims;
        const q = scratch.queries.subarray(atQuery);
        const k = scratch.keys.subarray(atQuery);
        const v = scratch.expanded.subarray(atValue);
        const d = scratch.outputGradients.subarray(atOutput);
        shape.set(context, context, dims, true, false);
        shape.lda = heads * dims;
        shape.ldb = heads * dims;
        kernels.gemm(q, k, p, shape);
        kernels.softmax(p, context, context, options);
        shape.set(context, context, valueDims, true, false);
        shape.lda = heads * valueDims;
        shape.ldb = heads * width;
        kernels.gemm(d, v, gradient, shape);
        kernels.softmaxBackward(p, gradient, context, context, this.#scale);
        kernels.transpose(p, turned, context, context);
        shape.set(context, valueDims, context, false, false);
        shape.ldb = heads * valueDims;
        shape.ldc = heads * width;
        kernels.gemm(turned, d, scratch.expandedGradients.subarray(atValue), shape);
        shape.set(context, dims, context, false, false);
        shape.ldb = heads * dims;
        shape.ldc = heads * dims;
        kernels.gemm(gradient, k, scratch.queryGradients.subarray(atQuery), shape);
        kernels.transpose(gradient, turned, context, context);
        kernels.gemm(turned, q, scratch.keyGradients.subarray(atQuery), shape);
      }
    }
  }

  /** Key gradients to where they came from: expanded keys, and the rotary key that all heads share. */
  #collectKeyGradients(): void {
    const { tokens, config } = this.#runtime;
    const { heads, nopeDims, ropeDims, valueDims, keyValueRank } = config.model;
    const { keyGradients, expandedGradients, latent } = this.#scratch;
    const dims = nopeDims + ropeDims;
    for (let t = 0; t < tokens; t++) {
      const rope = t * (keyValueRank + ropeDims) + keyValueRank;
      for (let d = 0; d < ropeDims; d++) latent[rope + d] = 0;
      for (let h = 0; h < heads; h++) {
        const from = (t * heads + h) * dims;
        const to = (t * heads + h) * (nopeDims + valueDims);
        for (let d = 0; d < nopeDims; d++) expandedGradients[to + d] = keyGradients[from + d]!;
        for (let d = 0; d < ropeDims; d++) {
          latent[rope + d] = latent[rope + d]! + keyGradients[from + nopeDims + d]!;
        }
      }
    }
  }

  #rotateQueries(queries: Float32Array, table: Float32Array): void {
    const { kernels, tokens, config } = this.#runtime;
    const { heads, nopeDims, ropeDims } = config.model;
    const dims = nopeDims + ropeDims;
    kernels.rope(queries, table, this.#scratch.positions, {
      rows: tokens,
      heads,
      dims: ropeDims,
      rowStride: heads * dims,
      headStride: dims,
      offset: nopeDims,
    });
  }

  #rotateLatent(latent: Float32Array, table: Float32Array): void {
    const { kernels, tokens, config } = this.#runtime;
    const { keyValueRank, ropeDims } = config.model;
    kernels.rope(latent, table, this.#scratch.positions, {
      rows: tokens,
      heads: 1,
      dims: ropeDims,
      rowStride: keyValueRank + ropeDims,
      headStride: ropeDims,
      offset: keyValueRank,
    });
  }
}
