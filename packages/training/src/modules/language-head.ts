import type { BoundParameter, Runtime } from '../runtime.js';
import { RmsNorm } from './rms-norm.js';

/** Rows of logits that are there at a time. */
const CHUNK_ROWS = 256;

/** Final norm, output head and cross-entropy, all in float32. */
export class LanguageHead {
  readonly #runtime: Runtime;
  readonly #norm: RmsNorm;
  readonly #head: BoundParameter;
  readonly #normed: Float32Array;
  readonly #gradients: Float32Array;
  readonly #logits: Float32Array;
  readonly #transposed: Float32Array;
  readonly #chunk: number;

  constructor(runtime: Runtime) {
    const { arena, tokens, config } = runtime;
    const { hiddenSize, vocabularySize } = config.model;
    this.#runtime = runtime;
    this.#norm = new RmsNorm(runtime, 'model.norm.weight', { accumulate: false });
    this.#head = runtime.parameter('lm_head.weight');
    this.#chunk = Math.min(CHUNK_ROWS, tokens);
    this.#normed = arena.f32(tokens * hiddenSize);
    this.#gradients = arena.f32(tokens * hiddenSize);
    this.#logits = arena.f32(this.#chunk * vocabularySize);
    this.#transposed = arena.f32(this.#chunk * vocabularySize);
  }

  /** Logits `[tokens, vocabulary]` of x `[tokens, hidden]`. */
  logits(x: Float32Array, out: Float32Array): void {
    const { kernels, tokens, config, shape } = this.#runtime;
    const { hiddenSize, vocabularySize } = config.model;
    this.#norm.forward(x, this.#normed, tokens);
    shape.set(tokens, vocabularySize, hiddenSize, true, false);
    kernels.gemm(this.#normed, this.#head.weight, out, shape);
  }

  /**
   * Mean cross-entropy of x `[tokens, hidden]`. With `dx`, gradients are added and dx is set.
   *
   * @param targets - `[tokens]`
   */
  loss(x: Float32Array, targets: Int32Array, dx: Float32Array | undefined): number {
    const { kernels, tokens, config, shape } = this.#runtime;
    const { hiddenSize, vocabularySize } = config.model;
    const logits = this.#logits;
    this.#norm.forward(x, this.#normed, tokens);
    let loss = 0;
    for (let first = 0; first < tokens; first += this.#chunk) {
      const rows = Math.min(this.#chunk, tokens - first);
      const normed = this.#normed.subarray(first * hiddenSize, (first + rows) * hiddenSize);
      kernels.gemm(
        normed,
        this.#head.weight,
        logits,
        shape.set(rows, vocabularySize, hiddenSize, true, false),
      );
      loss += kernels.crossEntropy(
        logits,
        targets.subarray(first, first + rows),
        rows,
        vocabularySize,
        1 / tokens,
      );
      if (dx === undefined) continue;
      const gradients = this.#gradients.subarray(first * hiddenSize, (first + rows) * hiddenSize);
      kernels.gemm(
        logits,
        this.#head.weight,
        gradients,
        shape.set(rows, hiddenSize, vocabularySize, false, false),
      );
      kernels.transpose(logits, this.#transposed, rows, vocabularySize);
      kernels.gemm(
        this.#transposed,
        normed,
        this.#head.gradient,
        shape.set(vocabularySize, hiddenSize, rows, false, true),
      );
    }
    if (dx !== undefined) this.#norm.backward(x, this.#gradients, dx, tokens);
    return loss / tokens;
  }
}
