import { Arena, type GemmShape, TrainingKernels } from '@moestack/kernels';
import type { TrainConfig } from '@moestack/schemas';
import { TrainingError } from './errors.js';
import type { LinearLayer } from './linear-layer.js';
import { type Parameter, type ParameterPlan, planParameters } from './parameters.js';
import { type Recipes, resolveRecipes } from './recipes.js';

/** A reusable shape, so that products allocate nothing. */
export class ProductShape implements GemmShape {
  m: number = 0;
  n: number = 0;
  k: number = 0;
  lda: number = 0;
  ldb: number = 0;
  ldc: number = 0;
  transposeB: boolean = true;
  accumulate: boolean = false;

  /** Dense operands; change the strides afterwards for others. */
  set(m: number, n: number, k: number, transposeB: boolean, accumulate: boolean): this {
    this.m = m;
    this.n = n;
    this.k = k;
    this.lda = k;
    this.ldb = transposeB ? k : n;
    this.ldc = n;
    this.transposeB = transposeB;
    this.accumulate = accumulate;
    return this;
  }
}

/** A parameter with its views of the flat arrays. */
export interface BoundParameter extends Parameter {
  readonly weight: Float32Array;
  readonly gradient: Float32Array;
}

/** The memory and kernels of one rank, and the flat arrays of its parameters. */
export class Runtime {
  readonly config: TrainConfig;
  readonly recipes: Recipes;
  readonly arena: Arena;
  readonly kernels: TrainingKernels;
  readonly plan: ParameterPlan;
  /** Sequences and tokens of a batch of this rank. */
  readonly sequences: number;
  readonly tokens: number;
  readonly weights: Float32Array;
  readonly gradients: Float32Array;
  readonly firstMoments: Uint16Array;
  readonly secondMoments: Uint16Array;
  readonly shape: ProductShape = new ProductShape();
  /** Every linear layer of the network. */
  readonly layers: LinearLayer[] = [];
  /** Shared room for one operand of a product: widened input, rounded gradient, transposed gradient. */
  readonly operand: Float32Array;
  readonly rounded: Float32Array;
  readonly transposed: Float32Array;
  #recipeMacs = 0;
  #repeatedMacs = 0;

  constructor(config: TrainConfig) {
    this.config = config;
    this.recipes = resolveRecipes(config.recipe);
    this.sequences = config.batchSequences / config.ranks;
    if (!Number.isInteger(this.sequences)) {
      throw new TrainingError({
        code: 'training/bad-config',
        message: `expected batchSequences as a multiple of ranks (${config.ranks}), got ${config.batchSequences}`,
        value: config.batchSequences,
        remedy: 'change one of them',
      });
    }
    this.tokens = this.sequences * config.contextTokens;
    this.plan = planParameters(config.model);
    const widest = this.plan.parameters
      .filter(({ kind }) => kind === 'projection')
      .reduce((most, { rows, cols }) => Math.max(most, rows, cols), 1);
    const operand = this.tokens * widest;
    this.arena = Arena.create({ maximumBytes: arenaBytes(config, this.plan, this.tokens, operand) });
    this.kernels = new TrainingKernels(this.arena);
    const { length } = this.plan;
    this.weights = this.arena.f32(length);
    this.gradients = this.arena.f32(length);
    this.firstMoments = this.arena.u16(length);
    this.secondMoments = this.arena.u16(length);
    this.operand = this.arena.f32(operand);
    this.rounded = this.arena.f32(operand);
    this.transposed = this.arena.f32(operand);
  }

  /** A parameter and its views. */
  parameter(name: string): BoundParameter {
    const parameter = this.plan.byName.get(name)!;
    const end = parameter.offset + parameter.rows * parameter.cols;
    return {
      ...parameter,
      weight: this.weights.subarray(parameter.offset, end),
      gradient: this.gradients.subarray(parameter.offset, end),
    };
  }

  /** Counts multiply-adds of products that run outside `kernels`. */
  count(macs: number): void {
    this.#recipeMacs += macs;
  }

  /** Counts what was done since `macs` had this value as repeated: products that backward does anew instead of keeping results. */
  countRepeated(since: number): void {
    this.#repeatedMacs += this.macs - since;
  }

  /** Multiply-adds of all matrix products so far, those inside the forward attention kernel aside. */
  get macs(): number {
    return this.#recipeMacs + this.kernels.stats.gemmMacs;
  }

  /** Of {@link macs}, those of linear layers that backward repeats. */
  get repeatedMacs(): number {
    return this.#repeatedMacs;
  }
}

/** Room for parameters, what forward keeps, and scratch; pages are committed when first written. */
function arenaBytes(config: TrainConfig, plan: ParameterPlan, tokens: number, operand: number): number {
  const { model } = config;
  const { hiddenSize, heads, topK, expertWidth, sharedExperts } = model;
  const attention = heads * (model.nopeDims + model.ropeDims + model.valueDims);
  const kept =
    6 * hiddenSize +
    3 * (model.queryRank + model.keyValueRank + model.ropeDims) +
    2 * attention +
    2 * model.denseWidth +
    (topK + sharedExperts) * (expertWidth + hiddenSize) +
    4 * model.experts;
  const scratch =
    tokens * (12 * hiddenSize + 8 * attention + 4 * model.denseWidth + 4 * sharedExperts * expertWidth) +
    tokens * topK * (3 * hiddenSize + 4 * expertWidth) +
    600 * model.vocabularySize +
    4 * config.contextTokens ** 2;
  return 20 * plan.length + 4 * (3 * operand + tokens * kept * model.layers + scratch) + (64 << 20);
}
