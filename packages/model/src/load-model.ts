import { type DeepseekConfig, endOfSequenceIds } from './config.js';
import { openRuntime } from './open-runtime.js';
import type { ExpertRoutingOptions } from './parallel-options.js';
import type { Precision, W8A8Scale } from './precision.js';
import { RankEngine } from './rank-engine.js';
import { readConfig } from './read-config.js';
import type { ModelRuntime } from './runtime.js';
import { badOption } from './runtime-options.js';
import { createSamplerState, Sampler, type SamplerState } from './sampler.js';
import { localEngine, type SequenceEngine, sequenceBatch } from './sequence-engine.js';
import { checkTokens, contextTooLong, type StepBatch } from './step-batch.js';

/** Options of {@link loadModel}. */
export interface LoadModelOptions {
  /** Default: `fp8-weights` for a checkpoint with FP8 tensors, else `f32`. */
  readonly precision?: Precision;
  /** Default: naive for prefill, absorbed for decode; `w8a8` always runs absorbed. */
  readonly attention?: 'naive' | 'absorbed';
  readonly w8a8Scale?: W8A8Scale;
  /** File name beside the weights, default `config.json`. */
  readonly config?: string;
  /** Ranks to run on, default 1: worker threads that share the experts. The first has the sequence. */
  readonly ranks?: number;
  /** Of these, the ones that share the attention heads of the sequence, default 1; divides `ranks` and the heads. */
  readonly tensor?: number;
  /** Where the experts of several ranks live, and how tokens travel to them. */
  readonly routing?: ExpertRoutingOptions;
  /** Longest sequence; default: the model's position range, at most 4096. */
  readonly maxContextTokens?: number;
  /** Called while weights are read. */
  readonly onProgress?: (progress: { loadedBytes: number; totalBytes: number }) => void;
  readonly signal?: AbortSignal;
}

/** Options of {@link Model.generate}. */
export interface GenerateOptions {
  readonly maxTokens: number;
  /** 0 (default) is greedy. */
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  /** Seed of the sampling, default 0. */
  readonly seed?: number;
}

/** A model for one sequence at a time; {@link openRuntime} gives batches and a paged cache. */
export interface Model {
  readonly config: DeepseekConfig;
  /**
   * The runtime behind it.
   *
   * @throws ModelError `model/no-runtime` where the model runs on several ranks.
   */
  readonly runtime: ModelRuntime;
  /**
   * Logits `[T, vocab]` at every position of `tokens` `[T]`.
   *
   * @param options.chunk - tokens per step: 1 decodes step by step. Default: up to 512.
   */
  logits(tokens: Int32Array, options?: { chunk?: number }): Promise<Float32Array>;
  /** New tokens after `tokens`; ends at an end-of-sequence id (included), after `maxTokens`, or with the context. */
  generate(tokens: Int32Array, options: GenerateOptions): Promise<Int32Array>;
  /** Ends what the model runs on and frees its memory. */
  close(): Promise<void>;
}

const MAXIMUM_CHUNK = 512;
const DEFAULT_CONTEXT = 4096;
const BLOCK_TOKENS = 16;

/**
 * Loads a Hugging Face directory of a DeepSeek-V2 or DeepSeek-V3 style model. A tokenizer is not needed.
 *
 * @example
 * ```ts
 * import { loadModel } from '@moestack/model';
 * import { tinyMoe } from '@moestack/tiny-moe';
 * import { fileURLToPath } from 'node:url';
 *
 * const model = await loadModel(fileURLToPath(tinyMoe));
 * console.log(await model.generate(Int32Array.of(529, 490), { maxTokens: 4 }));
 * await model.close();
 * ```
 */
export async function loadModel(path: string, options: LoadModelOptions = {}): Promise<Model> {
  const { ranks = 1, tensor = 1, routing = {}, maxContextTokens, ...rest } = options;
  const config = await readConfig(path, options.config);
  const context = maxContextTokens ?? Math.min(config.max_position_embeddings, DEFAULT_CONTEXT);
  if (!Number.isInteger(context) || context < 1)
    throw badOption('maxContextTokens', context, 'a positive whole number');
  const runtime = {
    ...rest,
    blocks: Math.ceil(context / BLOCK_TOKENS),
    blockSizeTokens: BLOCK_TOKENS,
    maxBatchTokens: Math.min(context, MAXIMUM_CHUNK),
    maxSequences: 1,
    maxContextTokens: context,
  };
  if (ranks === 1 && tensor === 1)
    return new SingleSequenceModel(localEngine(await openRuntime(path, runtime)));
  return new SingleSequenceModel(await RankEngine.start({ path, config, ranks, tensor, routing, runtime }));
}

class SingleSequenceModel implements Model {
  private readonly engine: SequenceEngine;
  private readonly batch: StepBatch;
  private last: Promise<unknown> = Promise.resolve();

  constructor(engine: SequenceEngine) {
    this.engine = engine;
    this.batch = sequenceBatch(engine);
  }

  get config(): DeepseekConfig {
    return this.engine.config;
  }

  get runtime(): ModelRuntime {
    return this.engine.runtime;
  }

  async logits(tokens: Int32Array, options: { chunk?: number } = {}): Promise<Float32Array> {
    const { limits } = this.engine;
    const chunk = Math.min(options.chunk ?? limits.maxBatchTokens, limits.maxBatchTokens);
    if (!Number.isInteger(chunk) || chunk < 1)
      throw badOption('chunk', options.chunk, 'a positive whole number');
    this.checkPrompt(tokens);
    return this.alone(async () => {
      const out = new Float32Array(tokens.length * limits.vocabulary);
      for (let start = 0; start < tokens.length; start += chunk) {
        const count = Math.min(chunk, tokens.length - start);
        this.fill(tokens, start, count, start);
        out.set(await this.engine.forwardAll(this.batch), start * limits.vocabulary);
      }
      return out;
    });
  }

  async generate(tokens: Int32Array, options: GenerateOptions): Promise<Int32Array> {
    const { maxTokens, temperature = 0, seed = 0, ...filters } = options;
    if (!Number.isInteger(maxTokens) || maxTokens < 0)
      throw badOption('maxTokens', maxTokens, 'a whole number');
    const state = createSamplerState({ temperature, seed, ...filters });
    if (tokens.length === 0) throw badOption('tokens.length', 0, 'at least one token');
    if (maxTokens === 0) return new Int32Array(0);
    this.checkPrompt(tokens);
    return this.alone(() => this.continue(tokens, maxTokens, state));
  }

  close(): Promise<void> {
    return this.engine.close();
  }

  private async continue(tokens: Int32Array, maxTokens: number, state: SamplerState): Promise<Int32Array> {
    const { limits } = this.engine;
    const sampler = new Sampler();
    // The last token is sampled, never fed: it takes no position.
    const limit = Math.min(maxTokens, limits.maxContextTokens - tokens.length + 1);
    const ends = new Set(endOfSequenceIds(this.config));
    let logits = await this.prefill(tokens);
    const generated: number[] = [];
    for (;;) {
      const token = sampler.sample(logits, 0, limits.vocabulary, state);
      generated.push(token);
      if (ends.has(token) || generated.length === limit) return Int32Array.from(generated);
      this.batch.tokens[0] = token;
      this.batch.tokenOffsets[1] = 1;
      this.batch.contextStarts[0] = tokens.length + generated.length - 1;
      logits = await this.engine.forward(this.batch);
    }
  }

  private async prefill(tokens: Int32Array): Promise<Float32Array> {
    const chunk = this.engine.limits.maxBatchTokens;
    let logits = new Float32Array(0) as Float32Array;
    for (let start = 0; start < tokens.length; start += chunk) {
      this.fill(tokens, start, Math.min(chunk, tokens.length - start), start);
      logits = await this.engine.forward(this.batch);
    }
    return logits;
  }

  /** Calls take turns: they share one cache. */
  private alone<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work);
    this.last = result.catch(() => undefined);
    return result;
  }

  private fill(tokens: Int32Array, start: number, count: number, contextStart: number): void {
    this.batch.tokens.set(tokens.subarray(start, start + count));
    this.batch.tokenOffsets[1] = count;
    this.batch.contextStarts[0] = contextStart;
  }

  private checkPrompt(tokens: Int32Array): void {
    const { limits } = this.engine;
    if (tokens.length > limits.maxContextTokens) throw contextTooLong(tokens.length, limits.maxContextTokens);
    checkTokens(tokens, tokens.length, limits.vocabulary);
  }
}
