import {
  type LinearScaling,
  type LinearWeight,
  linearDgrad,
  linearForward,
  linearScaling,
  linearWgrad,
  prepareGradient,
  prepareInput,
  prepareWeight,
} from './linear.js';
import type { KeptInput } from './linear-matrix.js';
import type { Recipe } from './recipe.js';
import { invalid, type QuantizedTensor } from './scheme.js';

/** Options of the {@link Fp8Linear} constructor. */
export interface Fp8LinearOptions {
  /** K. */
  readonly inFeatures: number;
  /** N. */
  readonly outFeatures: number;
  readonly recipe: Recipe;
}

/** Options of {@link Fp8Linear.backward}. */
export interface BackwardOptions {
  /** What the matching forward kept; default: that of the last forward. */
  readonly kept?: KeptInput;
  /** Receives dx `[M, K]`. */
  readonly inputGradient?: Float32Array;
  /** Receives dW `[N, K]`. */
  readonly weightGradient?: Float32Array;
  /** Adds dW to `weightGradient`, for gradients over micro-batches. */
  readonly addWeightGradient?: boolean;
}

/**
 * A linear layer y = x W^T with the numerics of a {@link Recipe}. Master weights stay with the caller: they are
 * quantised on first use and anew after {@link Fp8Linear.step} or {@link Fp8Linear.invalidate}.
 *
 * @example
 * ```ts
 * import { Fp8Linear, recipe } from '@moestack/fp8';
 *
 * const layer = new Fp8Linear({ inFeatures: 256, outFeatures: 128, recipe: recipe('deepseek-v3') });
 * const weight = Float32Array.from({ length: 128 * 256 }, (_, i) => Math.sin(i));
 * const y = layer.forward(new Float32Array(4 * 256).fill(1), weight);
 * const { inputGradient, weightGradient } = layer.backward(y);
 * console.log(inputGradient.length, weightGradient.length, layer.kept!.bytes / layer.kept!.bf16Bytes);
 * ```
 */
export class Fp8Linear {
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly recipe: Recipe;
  /** Scales of the `delayed` recipe. */
  readonly scaling: LinearScaling | undefined;
  #source: Float32Array | undefined;
  #weight: LinearWeight | undefined;
  #kept: KeptInput | undefined;

  constructor({ inFeatures, outFeatures, recipe }: Fp8LinearOptions) {
    for (const [name, size] of Object.entries({ inFeatures, outFeatures })) {
      if (Number.isSafeInteger(size) && size > 0) continue;
      throw invalid('bad-shape', `${name} as a positive integer`, size, 'pass the sizes of the weight');
    }
    this.inFeatures = inFeatures;
    this.outFeatures = outFeatures;
    this.recipe = recipe;
    this.scaling = linearScaling(recipe);
  }

  /** What the last forward kept for backward: its `bytes`, and `bf16Bytes` to compare with. */
  get kept(): KeptInput | undefined {
    return this.#kept;
  }

  /**
   * y `[M, N]` of x `[M, K]`, M being what the length gives.
   *
   * @param input - values, or codes and scales that arrived quantised.
   * @param weight - float32 `[N, K]`; quantised when it is another array than last time, or after `step()`.
   */
  forward(
    input: Float32Array | QuantizedTensor,
    weight: Float32Array,
    options: { readonly out?: Float32Array } = {},
  ): Float32Array {
    const { recipe, scaling, inFeatures } = this;
    const m = input instanceof Float32Array ? input.length / inFeatures : input.shape[0];
    if (!Number.isInteger(m)) {
      const expected = `input as whole rows of ${inFeatures}`;
      throw invalid('bad-shape', expected, (input as Float32Array).length, 'pass [M, K] values');
    }
    const x = prepareInput(input, [m, inFeatures], { recipe, scaling });
    const y = linearForward(x, this.#quantized(weight), { recipe, out: options.out });
    this.#kept = x.kept;
    return y;
  }

  /** dx `[M, K]` and dW `[N, K]` of dy `[M, N]`, with the weight of the last forward. */
  backward(
    gradient: Float32Array | QuantizedTensor,
    options: BackwardOptions = {},
  ): { inputGradient: Float32Array; weightGradient: Float32Array } {
    const { recipe, scaling, outFeatures } = this;
    const kept = options.kept ?? this.#kept;
    const weight = this.#weight;
    if (kept === undefined || weight === undefined) {
      const remedy = 'call forward() first, also after invalidate() and step()';
      throw invalid('no-forward', 'backward after a forward', 'none', remedy);
    }
    const dy = prepareGradient(gradient, [kept.shape[0], outFeatures], { recipe, scaling });
    return {
      inputGradient: linearDgrad(dy, weight, { recipe, out: options.inputGradient }),
      weightGradient: linearWgrad(dy, kept, {
        recipe,
        out: options.weightGradient,
        add: options.addWeightGradient,
      }),
    };
  }

  /** Forgets the quantised weight: the next forward quantises what it is given. */
  invalidate(): void {
    this.#source = undefined;
    this.#weight = undefined;
  }

  /** Ends an optimiser step: forgets the quantised weight, updates delayed scales. */
  step(): void {
    this.invalidate();
    if (this.scaling === undefined) return;
    for (const scaling of Object.values(this.scaling)) scaling.update();
  }

  #quantized(weight: Float32Array): LinearWeight {
    if (this.#weight === undefined || this.#source !== weight) {
      const { recipe, scaling, inFeatures, outFeatures } = this;
      this.#weight = prepareWeight(weight, [outFeatures, inFeatures], { recipe, scaling });
      this.#source = weight;
    }
    return this.#weight;
  }
}
