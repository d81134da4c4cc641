import {
  allocatePermutation,
  type BiasController,
  combineRows,
  createBiasController,
  createRouter,
  type Permutation,
  permuteRows,
  permuteValues,
  planPermutationInto,
  type Router,
  sequenceBalanceLoss,
} from '@moestack/routing';
import type { TrainConfig } from '@moestack/schemas';
import type { BoundParameter, Runtime } from '../runtime.js';
import { GatedMlp, type MlpRooms, type MlpScratch, mlpRooms } from './gated-mlp.js';

/** Room that the expert layers of a network share. */
export interface ExpertScratch {
  /** `[tokens * topK, hidden]`, twice. */
  readonly rowsIn: Float32Array;
  readonly rowsOut: Float32Array;
  /** `[tokens * topK]`. */
  readonly rowGradients: Float32Array;
  /** `[tokens, experts]`. */
  readonly logitGradients: Float32Array;
  /** `[tokens, hidden]`. */
  readonly shared: Float32Array;
}

/** Allocates the shared room. */
export function expertScratch({ arena, tokens, config }: Runtime): ExpertScratch {
  const { hiddenSize, topK, experts } = config.model;
  return {
    rowsIn: arena.f32(tokens * topK * hiddenSize),
    rowsOut: arena.f32(tokens * topK * hiddenSize),
    rowGradients: arena.f32(tokens * topK),
    logitGradients: arena.f32(tokens * experts),
    shared: arena.f32(tokens * hiddenSize),
  };
}

/** The speed of the selection bias in a step (from 0), by the fraction of the run that is done. */
export function gammaAt(config: TrainConfig, step: number): number {
  const { gamma, finalGamma, decayAt, freezeAt } = config.balance;
  const done = step / config.steps;
  if (done >= freezeAt) return 0;
  return done >= decayAt ? finalGamma : gamma;
}

/**
 * Routed experts behind a sigmoid gate with a selection bias, and a shared expert (DeepSeek-V3, section 2.1.2). Tokens
 * are sorted by expert, so that each expert runs on one block of rows; none is dropped.
 */
export class Experts {
  readonly control: BiasController;
  /** Tokens per expert of the last forward. */
  readonly counts: Int32Array;
  readonly #runtime: Runtime;
  readonly #router: Router;
  readonly #gate: BoundParameter;
  readonly #experts: readonly GatedMlp[];
  readonly #shared: GatedMlp | undefined;
  readonly #scratch: ExpertScratch;
  readonly #permutation: Permutation;
  readonly #logits: Float32Array;
  readonly #indices: Int32Array;
  readonly #weights: Float32Array;
  readonly #rowWeights: Float32Array;
  readonly #groups: Int32Array;

  constructor(runtime: Runtime, prefix: string, mlp: MlpScratch, scratch: ExpertScratch) {
    const { tokens, arena, config } = runtime;
    const { experts, topK, groups, topKGroups, expertWidth, sharedExperts, routedScalingFactor } =
      config.model;
    this.#runtime = runtime;
    this.#scratch = scratch;
    this.#router = createRouter({
      experts,
      topK,
      groups,
      topKGroups,
      scoring: 'sigmoid',
      routedScalingFactor,
    });
    this.control = createBiasController({
      experts,
      topK,
      gamma: ({ step }) => gammaAt(config, step),
    });
    this.#gate = runtime.parameter(`${prefix}.gate.weight`);
    const rooms: MlpRooms = mlpRooms(runtime, { up: 'moeUp', down: 'moeDown' }, tokens * topK, expertWidth);
    this.#experts = Array.from(
      { length: experts },
      (_, e) => new GatedMlp(runtime, `${prefix}.experts.${e}`, rooms, mlp),
    );
    if (sharedExperts > 0) {
      const width = sharedExperts * expertWidth;
      const room = mlpRooms(runtime, { up: 'default', down: 'default' }, tokens, width);
      this.#shared = new GatedMlp(runtime, `${prefix}.shared_experts`, room, mlp);
    }
    this.#permutation = allocatePermutation({ experts, topK, maxTokens: tokens });
    this.#logits = arena.f32(tokens * experts);
    this.#indices = new Int32Array(tokens * topK);
    this.#weights = new Float32Array(tokens * topK);
    this.#rowWeights = arena.f32(tokens * topK);
    this.#groups = new Int32Array(tokens * topKGroups);
    this.counts = new Int32Array(experts);
  }

  /** Chosen experts of the last forward `[tokens, topK]`. */
  get indices(): Int32Array {
    return this.#indices;
  }

  /**
   * y of x, both `[tokens, hidden]`.
   *
   * @param isFrozen - repeat the choice of the last forward; weights are computed anew.
   */
  forward(x: Float32Array, y: Float32Array, isFrozen: boolean): void {
    const { kernels, tokens, shape, config } = this.#runtime;
    const { hiddenSize, experts } = config.model;
    const { rowsIn, rowsOut, shared } = this.#scratch;
    kernels.gemm(x, this.#gate.weight, this.#logits, shape.set(tokens, experts, hiddenSize, true, false));
    if (isFrozen) this.#router.weigh(this.#logits, this.#indices, { out: this.#weights });
    else {
      this.#router.routeInto(this.#logits, tokens, {
        bias: this.control.bias,
        indices: this.#indices,
        weights: this.#weights,
        groups: this.#groups,
        counts: this.counts,
      });
    }
    const permutation = this.#permutation;
    planPermutationInto(this.#indices, tokens, permutation);
    permuteRows(x, permutation, { columns: hiddenSize, out: rowsIn });
    permuteValues(this.#weights, permutation, { out: this.#rowWeights });
    const { offsets } = permutation;
    for (let e = 0; e < experts; e++) {
      const [first, end] = [offsets[e]!, offsets[e + 1]!];
      this.#experts[e]!.forward(
        rowsIn.subarray(first * hiddenSize, end * hiddenSize),
        rowsOut.subarray(first * hiddenSize, end * hiddenSize),
        end - first,
        first,
        this.#rowWeights.subarray(first, end),
      );
    }
    combineRows(rowsOut, permutation, { columns: hiddenSize, out: y });
    if (this.#shared === undefined) return;
    this.#shared.forward(x, shared, tokens, 0, undefined);
    kernels.add(y, shared, y, tokens * hiddenSize);
  }

  /**
   * Sets dx `[tokens, hidden]`.
   *
   * @param x - the input of forward.
   */
  backward(x: Float32Array, dy: Float32Array, dx: Float32Array): void {
    const { kernels, tokens, shape, config, transposed } = this.#runtime;
    const { hiddenSize, experts } = config.model;
    const { rowsIn, rowsOut, rowGradients, logitGradients } = this.#scratch;
    const permutation = this.#permutation;
    permuteRows(dy, permutation, { columns: hiddenSize, out: rowsOut });
    const { offsets } = permutation;
    for (let e = 0; e < experts; e++) {
      const [first, end] = [offsets[e]!, offsets[e + 1]!];
      this.#experts[e]!.backward(
        rowsOut.subarray(first * hiddenSize, end * hiddenSize),
        rowsIn.subarray(first * hiddenSize, end * hiddenSize),
        false,
        this.#rowWeights.subarray(first, end),
        rowGradients.subarray(first, end),
      );
    }
    combineRows(rowsIn, permutation, { columns: hiddenSize, out: dx });
    this.#shared?.backward(dy, dx, true, undefined, undefined);
    this.#gateGradients();
    kernels.gemm(logitGradients, this.#gate.weight, dx, shape.set(tokens, hiddenSize, experts, false, true));
    kernels.transpose(logitGradients, transposed, tokens, experts);
    kernels.gemm(transposed, x, this.#gate.gradient, shape.set(experts, hiddenSize, tokens, false, true));
  }

  /** Bytes kept for backward. */
  get savedBytes(): number {
    let bytes = this.#logits.byteLength + this.#weights.byteLength * 2 + this.#indices.byteLength;
    for (const expert of this.#experts) bytes += expert.savedBytes;
    return bytes + (this.#shared?.savedBytes ?? 0);
  }

  /** Elements kept for backward. */
  get savedElements(): number {
    let elements = this.#logits.length + this.#weights.length * 3;
    for (const expert of this.#experts) elements += expert.savedElements;
    return elements + (this.#shared?.savedElements ?? 0);
  }

  /** Gradients of the logits, from those of the weights w = factor s / sum s with s = sigmoid(logit). */
  #gateGradients(): void {
    const { tokens, config } = this.#runtime;
    const { experts, topK, routedScalingFactor } = config.model;
    const { rowGradients, logitGradients } = this.#scratch;
    const { inverse } = this.#permutation;
    const logits = this.#logits;
    const indices = this.#indices;
    logitGradients.fill(0);
    const alpha = config.balance.sequenceLoss;
    if (alpha > 0) {
      sequenceBalanceLoss(logits, indices, {
        experts,
        topK,
        sequenceTokens: config.contextTokens,
        coefficient: alpha,
        gradLogits: logitGradients,
      });
    }
    for (let token = 0; token < tokens; token++) {
      let sum = 0;
      let mean = 0;
      for (let i = token * topK; i < (token + 1) * topK; i++) {
        const score = 1 / (1 + Math.exp(-logits[token * experts + indices[i]!]!));
        sum += score;
        mean += score * rowGradients[inverse[i]!]!;
      }
      mean /= sum;
      for (let i = token * topK; i < (token + 1) * topK; i++) {
        const at = token * experts + indices[i]!;
        const score = 1 / (1 + Math.exp(-logits[at]!));
        const gradient = (routedScalingFactor * (rowGradients[inverse[i]!]! - mean)) / sum;
        logitGradients[at] = logitGradients[at]! + gradient * score * (1 - score);
      }
    }
  }
}
