import type { AdamWStep } from '@moestack/kernels';
import type { TrainConfig } from '@moestack/schemas';
import type { Runtime } from './runtime.js';

/** Learning rate of a step (from 0): linear warmup, then constant, or half a cosine down to the final fraction. */
export function learningRateAt(config: TrainConfig, step: number): number {
  const { schedule, optimizer, steps } = config;
  const { warmupSteps, finalFraction } = schedule;
  if (step < warmupSteps) return (optimizer.learningRate * (step + 1)) / warmupSteps;
  if (schedule.type === 'constant') return optimizer.learningRate;
  const done = Math.min(1, (step - warmupSteps) / Math.max(1, steps - warmupSteps));
  const fraction = finalFraction + (1 - finalFraction) * 0.5 * (1 + Math.cos(Math.PI * done));
  return optimizer.learningRate * fraction;
}

interface Slot {
  readonly weight: Float32Array;
  readonly gradient: Float32Array;
  readonly first: Uint16Array;
  readonly second: Uint16Array;
  readonly decays: boolean;
}

/** AdamW with float32 master weights and bfloat16 moments; clips by the global norm; decays matrices only. */
export class Optimizer {
  readonly #runtime: Runtime;
  readonly #slots: readonly Slot[];
  readonly #step: { -readonly [K in keyof AdamWStep]: AdamWStep[K] };

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
    const { weights, gradients, firstMoments, secondMoments, plan } = runtime;
    this.#slots = plan.parameters.map(({ offset, rows, cols, kind }) => {
      // Padding up to the next tensor holds zeros, and stays zero.
      const end = offset + Math.ceil((rows * cols) / 16) * 16;
      return {
        weight: weights.subarray(offset, end),
        gradient: gradients.subarray(offset, end),
        first: firstMoments.subarray(offset, end),
        second: secondMoments.subarray(offset, end),
        decays: kind !== 'norm',
      };
    });
    const { beta1, beta2, epsilon } = runtime.config.optimizer;
    this.#step = {
      scale: 1,
      beta1,
      beta2,
      correction1: 1,
      correction2: 1,
      epsilon,
      learningRate: 0,
      keep: 1,
    };
  }

  /** Norm of all gradients times `scale`. */
  gradientNorm(scale: number): number {
    const { kernels, gradients } = this.#runtime;
    return Math.sqrt(kernels.sumSquares(gradients, gradients.length)) * scale;
  }

  /**
   * Applies the gradients.
   *
   * @param step - from 0.
   * @param norm - of the gradients times `scale`.
   * @param scale - 1 / ranks, where gradients are sums over ranks.
   */
  apply(step: number, norm: number, scale: number): void {
    const { kernels, config } = this.#runtime;
    const { beta1, beta2, weightDecay, clipNorm } = config.optimizer;
    const learningRate = learningRateAt(config, step);
    const numbers = this.#step;
    numbers.scale = norm > clipNorm ? (scale * clipNorm) / norm : scale;
    numbers.correction1 = 1 / (1 - beta1 ** (step + 1));
    numbers.correction2 = 1 / (1 - beta2 ** (step + 1));
    numbers.learningRate = learningRate;
    for (const { weight, gradient, first, second, decays } of this.#slots) {
      numbers.keep = decays ? 1 - learningRate * weightDecay : 1;
      kernels.adamW(weight, gradient, first, second, weight.length, numbers);
    }
  }
}
