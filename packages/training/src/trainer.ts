import type { Communicator, Plan } from '@moestack/collectives';
import { type BiasControllerState, RoutingError } from '@moestack/routing';
import type { TrainConfig } from '@moestack/schemas';
import { TrainingError } from './errors.js';
import { gammaAt } from './modules/experts.js';
import { Network, type SavedBytes } from './network.js';
import { learningRateAt, Optimizer } from './optimizer.js';
import { initialiseParameters, type ParameterPlan } from './parameters.js';
import { Runtime } from './runtime.js';

/** What one optimiser step did. */
export interface StepResult {
  /** Steps done, this one included. */
  readonly step: number;
  /** Mean over all ranks, nats per token. */
  readonly loss: number;
  readonly gradientNorm: number;
  readonly learningRate: number;
  readonly gamma: number;
  /** Per expert layer, of the counts of all ranks. */
  readonly maxVio: number[];
  /** Whether a rank asked to stop. */
  readonly isStopped: boolean;
}

/** Everything that the next step depends on. */
export interface TrainerState {
  readonly step: number;
  readonly weights: Float32Array;
  readonly firstMoments: Uint16Array;
  readonly secondMoments: Uint16Array;
  readonly biases: readonly BiasControllerState[];
}

/** Collective waits may last as long as the slowest rank's step. */
const WAIT = { timeoutSeconds: 3600 } as const;

/**
 * One rank of a training run. Steps are deterministic: the same configuration, batches and number of ranks give the same
 * bits. Gradients of several ranks are summed by the ring algorithm, whose order of additions depends on the number of
 * ranks alone.
 *
 * @example
 * ```ts
 * import { Trainer } from '@moestack/training';
 * import { TrainConfig } from '@moestack/schemas';
 *
 * const config = TrainConfig.parse({
 *   schemaVersion: 1,
 *   name: 'example',
 *   model: {
 *     vocabularySize: 16, hiddenSize: 32, layers: 2, heads: 2, keyValueRank: 16, nopeDims: 8, ropeDims: 4,
 *     valueDims: 8, denseWidth: 64, experts: 4, topK: 2, expertWidth: 32,
 *   },
 *   recipe: { name: 'deepseek-v3' },
 *   steps: 10, batchSequences: 4, contextTokens: 8, seeds: { weights: 1, data: 1 },
 * });
 * const trainer = new Trainer(config);
 * const batch = Int32Array.from({ length: 4 * 9 }, (_, i) => (i * i) % 16);
 * for (let step = 0; step < 10; step++) console.log(trainer.step(batch, false).loss);
 * ```
 */
export class Trainer {
  readonly config: TrainConfig;
  readonly #runtime: Runtime;
  readonly #network: Network;
  readonly #optimizer: Optimizer;
  readonly #communicator: Communicator | undefined;
  readonly #counts: Int32Array;
  readonly #loss: Float32Array;
  readonly #plans: readonly Plan[];
  #step = 0;

  /** @param communicator - of `config.ranks` ranks, for more than one. */
  constructor(config: TrainConfig, communicator?: Communicator) {
    checkConfig(config, communicator);
    this.config = config;
    this.#communicator = communicator;
    this.#runtime = new Runtime(config);
    this.#network = new Network(this.#runtime);
    this.#optimizer = new Optimizer(this.#runtime);
    initialiseParameters(this.#runtime.plan, this.#runtime.weights, config.seeds.weights);
    this.#network.prepare();
    const layers = this.#network.expertLayers.length;
    this.#counts = new Int32Array(layers * config.model.experts + 1);
    this.#loss = new Float32Array(1);
    this.#plans =
      communicator === undefined
        ? []
        : [this.#runtime.gradients, this.#loss, this.#counts].map((array) =>
            communicator.plan({
              op: 'allReduce',
              dtype: array instanceof Int32Array ? 'i32' : 'f32',
              count: array.length,
              algorithm: 'ring',
              input: array,
              output: array,
            }),
          );
  }

  /** Steps done. */
  get stepsDone(): number {
    return this.#step;
  }

  /** The layout of the flat arrays. */
  get plan(): ParameterPlan {
    return this.#runtime.plan;
  }

  /** Master weights, flat; see {@link Trainer.plan}. */
  get weights(): Float32Array {
    return this.#runtime.weights;
  }

  /** Selection bias of each expert layer. */
  get biases(): readonly Float32Array[] {
    return this.#network.expertLayers.map(({ control }) => control.bias);
  }

  /** Multiply-adds of all matrix products of this rank so far. */
  get macs(): number {
    return this.#runtime.macs;
  }

  /** Of {@link Trainer.macs}, those of products that backward repeats instead of keeping their results. */
  get repeatedMacs(): number {
    return this.#runtime.repeatedMacs;
  }

  /**
   * Forward, backward and one optimiser step on a batch `[sequences of this rank, context + 1]`.
   *
   * @param wantsStop - told to all ranks, who see it in the result.
   * @throws {@link TrainingError} `training/not-finite`, before weights change, when loss or gradients are not finite.
   */
  step(batch: Int32Array, wantsStop: boolean): StepResult {
    const { config } = this;
    const { experts } = config.model;
    const layers = this.#network.expertLayers;
    const counts = this.#counts;
    this.#runtime.gradients.fill(0);
    let loss = this.#lossWithGradients(batch);
    this.#loss[0] = loss;
    layers.forEach((layer, i) => {
      counts.set(layer.counts, i * experts);
    });
    counts[layers.length * experts] = wantsStop ? 1 : 0;
    for (const plan of this.#plans) plan.run(WAIT);
    if (this.#communicator !== undefined) loss = this.#loss[0]! / config.ranks;
    const step = this.#step;
    const gradientNorm = this.#optimizer.gradientNorm(1 / config.ranks);
    if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) throw notFinite(step, loss, gradientNorm);
    this.#optimizer.apply(step, gradientNorm, 1 / config.ranks);
    const maxVio = layers.map(({ control }, i) =>
      control.update(counts.subarray(i * experts, (i + 1) * experts)),
    );
    this.#network.prepare();
    this.#step = step + 1;
    return {
      step: step + 1,
      loss,
      gradientNorm,
      learningRate: learningRateAt(config, step),
      gamma: gammaAt(config, step),
      maxVio,
      isStopped: counts[layers.length * experts]! > 0,
    };
  }

  #lossWithGradients(batch: Int32Array): number {
    try {
      return this.#network.loss(batch, { gradients: true });
    } catch (cause) {
      // The router meets values that are not finite before the loss does.
      if (RoutingError.isInstance(cause) && cause.code === 'routing/not-finite') {
        throw notFinite(this.#step, Number.NaN, Number.NaN, cause);
      }
      throw cause;
    }
  }

  /** Mean loss of a batch, nats per token, without any change. */
  evaluate(batch: Int32Array): number {
    return this.#network.loss(batch, { gradients: false });
  }

  /** Logits `[tokens, vocabulary]` at every position of a batch. */
  logits(batch: Int32Array): Float32Array {
    return this.#network.logits(batch);
  }

  /** What the last forward kept for backward. */
  savedBytes(): SavedBytes {
    return this.#network.savedBytes();
  }

  /** Views of the current state; they change with the next step. */
  state(): TrainerState {
    const { weights, firstMoments, secondMoments } = this.#runtime;
    const biases = this.#network.expertLayers.map(({ control }) => control.state());
    return { step: this.#step, weights, firstMoments, secondMoments, biases };
  }

  /** Goes on from a state. */
  restore(state: TrainerState): void {
    const { weights, firstMoments, secondMoments } = this.#runtime;
    const layers = this.#network.expertLayers;
    if (state.weights.length !== weights.length || state.biases.length !== layers.length) {
      throw new TrainingError({
        code: 'training/bad-shape',
        message: `expected a state of ${weights.length} weights, got ${state.weights.length}`,
        value: state.weights.length,
        remedy: 'restore the state of a run with the same model sizes',
      });
    }
    weights.set(state.weights);
    firstMoments.set(state.firstMoments);
    secondMoments.set(state.secondMoments);
    layers.forEach(({ control }, i) => {
      control.restore(state.biases[i]!);
    });
    this.#step = state.step;
    this.#network.prepare();
  }

  /** Frees what belongs to the communicator, which stays open. */
  close(): void {
    for (const plan of this.#plans) plan.close();
  }
}

function checkConfig({ ranks, model }: TrainConfig, communicator: Communicator | undefined): void {
  const size = communicator?.size ?? 1;
  if (size !== ranks) throw badConfig('ranks', ranks, `${size}, the size of the communicator`);
  if (model.denseLayers > model.layers) {
    throw badConfig('denseLayers', model.denseLayers, `at most ${model.layers} layers`);
  }
}

function badConfig(name: string, value: number, expected: string): TrainingError {
  return new TrainingError({
    code: 'training/bad-config',
    message: `expected ${name} of ${expected}, got ${value}`,
    value,
    remedy: 'correct the configuration',
  });
}

function notFinite(step: number, loss: number, norm: number, cause?: unknown): TrainingError {
  return new TrainingError({
    code: 'training/not-finite',
    message: `step ${step + 1}: loss ${loss}, gradient norm ${norm}`,
    value: String(loss),
    remedy: 'lower learningRate or raise warmupSteps, and resume from the last checkpoint',
    cause,
  });
}
