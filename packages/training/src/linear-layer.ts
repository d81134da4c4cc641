import {
  type LinearInput,
  type LinearWeight,
  linearDgrad,
  linearForward,
  linearWgrad,
  prepareGradient,
  prepareInput,
  prepareWeight,
  type Recipe,
} from '@moestack/fp8';
import type { Runtime } from './runtime.js';

/** Room for saved inputs that share one shape of rows: the experts of a layer divide it anew in each step. */
export class SavedRows {
  readonly recipe: Recipe;
  readonly cols: number;
  readonly values: Float32Array | undefined;
  readonly codes: Uint16Array | undefined;

  constructor(runtime: Runtime, recipe: Recipe, rows: number, cols: number) {
    this.recipe = recipe;
    this.cols = cols;
    this.values = recipe.name === 'f32' ? runtime.arena.f32(rows * cols) : undefined;
    this.codes = recipe.name === 'bf16' ? runtime.arena.u16(rows * cols) : undefined;
  }
}

/**
 * The input of one or more linear layers, kept for backward in as few bytes as the recipe allows: FP8 or E5M6 codes with
 * scales, bfloat16 codes, or float32 values.
 */
export class SavedInput {
  readonly recipe: Recipe;
  readonly cols: number;
  /** Rows kept now. */
  rows: number = 0;
  readonly #runtime: Runtime;
  readonly #room: SavedRows;
  readonly #isRecomputed: boolean;
  #values: Float32Array | undefined;
  #codes: Uint16Array | undefined;
  #input: LinearInput | undefined;

  /** @param isRecomputed - whether backward repeats the forward product. */
  constructor(runtime: Runtime, room: SavedRows, isRecomputed: boolean) {
    this.#runtime = runtime;
    this.#room = room;
    this.recipe = room.recipe;
    this.cols = room.cols;
    this.#isRecomputed = isRecomputed;
  }

  /** Keeps x `[rows, cols]`, from row `first` of the room on. */
  save(x: Float32Array, rows: number, first: number): void {
    const start = first * this.cols;
    this.#values = this.#room.values?.subarray(start, start + rows * this.cols);
    this.#codes = this.#room.codes?.subarray(start, start + rows * this.cols);
    const size = rows * this.cols;
    this.rows = rows;
    if (this.#values !== undefined) this.#values.set(exactly(x, size));
    else if (this.#codes !== undefined) this.#runtime.kernels.packBf16(x, this.#codes, size);
    else this.#input = prepareInput(exactly(x, size), [rows, this.cols], { recipe: this.recipe });
  }

  /** The operand of float32 products; valid until another saved input is asked. */
  values(): Float32Array {
    if (this.#values !== undefined) return this.#values;
    const { operand, kernels } = this.#runtime;
    kernels.unpackBf16(this.#codes!, operand, this.rows * this.cols);
    return operand;
  }

  /** The operand of recipe products. */
  get quantized(): LinearInput {
    return this.#input!;
  }

  /** Drops the codes of the forward product where backward needs only what is kept for Wgrad. */
  release(): void {
    const input = this.#input;
    if (input === undefined || this.#isRecomputed) return;
    const { shape, kept } = input;
    this.#input = { shape, kept, forward: { shape, isTransposed: false } };
  }

  /** Bytes kept now. */
  get bytes(): number {
    const size = this.rows * this.cols;
    if (this.#values !== undefined) return size * 4;
    if (this.#codes !== undefined) return size * 2;
    const input = this.#input;
    if (input === undefined) return 0;
    const { quantized } = input.forward;
    if (this.recipe.wgrad.keep === 'forward' || quantized === undefined) return input.kept.bytes;
    return input.kept.bytes + quantized.codes.byteLength + quantized.scales.byteLength;
  }
}

/** y = x W^T in the numerics of a recipe, with master weight and gradient in the flat arrays. */
export class LinearLayer {
  readonly rows: number;
  readonly cols: number;
  readonly weight: Float32Array;
  readonly gradient: Float32Array;
  readonly recipe: Recipe;
  readonly #runtime: Runtime;
  readonly #isPlain: boolean;
  readonly #rounded: Float32Array | undefined;
  #prepared: LinearWeight | undefined;

  constructor(runtime: Runtime, name: string, recipe: Recipe) {
    const { rows, cols, weight, gradient } = runtime.parameter(name);
    this.#runtime = runtime;
    this.rows = rows;
    this.cols = cols;
    this.weight = weight;
    this.gradient = gradient;
    this.recipe = recipe;
    this.#isPlain = recipe.name === 'f32' || recipe.name === 'bf16';
    this.#rounded = recipe.name === 'bf16' ? runtime.arena.f32(rows * cols) : undefined;
    runtime.layers.push(this);
  }

  /** Rounds or quantises the weight; to be called whenever the master weight changed. */
  prepare(): void {
    const { weight, recipe, rows, cols } = this;
    if (this.#rounded !== undefined) this.#runtime.kernels.toBf16(weight, this.#rounded, weight.length);
    else if (!this.#isPlain) this.#prepared = prepareWeight(weight, [rows, cols], { recipe });
  }

  /** out `[m, rows]` of the saved input `[m, cols]`. */
  forward(x: SavedInput, out: Float32Array): void {
    const m = x.rows;
    const { rows, cols, recipe } = this;
    if (m === 0) return;
    const { kernels, shape } = this.#runtime;
    if (this.#isPlain) {
      shape.set(m, rows, cols, true, false);
      kernels.gemm(x.values(), this.#rounded ?? this.weight, out, shape);
      return;
    }
    linearForward(x.quantized, this.#prepared!, { recipe, out: exactly(out, m * rows) });
    this.#runtime.count(m * rows * cols);
  }

  /**
   * Sets dW, since a layer runs once a step (it stays 0 without rows); sets or adds to dx `[m, cols]`, from dy `[m, rows]`.
   */
  backward(x: SavedInput, dy: Float32Array, dx: Float32Array, accumulate: boolean): void {
    const m = x.rows;
    const { rows, cols, recipe } = this;
    if (m === 0) return;
    const { kernels, shape, rounded, transposed } = this.#runtime;
    if (this.#isPlain) {
      let gradient = dy;
      if (this.#rounded !== undefined) {
        kernels.toBf16(dy, rounded, m * rows);
        gradient = rounded;
      }
      shape.set(m, cols, rows, false, accumulate);
      kernels.gemm(gradient, this.#rounded ?? this.weight, dx, shape);
      kernels.transpose(gradient, transposed, m, rows);
      shape.set(rows, cols, m, false, false);
      kernels.gemm(transposed, x.values(), this.gradient, shape);
      return;
    }
    const prepared = prepareGradient(exactly(dy, m * rows), [m, rows], { recipe });
    const out = exactly(accumulate ? rounded : dx, m * cols);
    linearDgrad(prepared, this.#prepared!, { recipe, out });
    if (accumulate) kernels.add(dx, out, dx, m * cols);
    linearWgrad(prepared, x.quantized.kept, { recipe, out: this.gradient });
    this.#runtime.count(2 * m * rows * cols);
  }
}

/** The first `length` elements. */
export function exactly(x: Float32Array, length: number): Float32Array {
  return x.length === length ? x : x.subarray(0, length);
}
