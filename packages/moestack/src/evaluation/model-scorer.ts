import { type ModelRuntime, openRuntime, type Precision, type StepBatch } from '@moestack/model';

const BLOCK_TOKENS = 16;
/** Logits computed at a time; bounds memory whatever the vocabulary. */
const LOGITS_PER_STEP = 2 ** 22;
const MAX_STEP_TOKENS = 256;

/** How to load a model for scoring. */
export interface ScorerOptions {
  readonly contextTokens: number;
  readonly precision?: Precision;
  readonly onProgress?: (progress: { loadedBytes: number; totalBytes: number }) => void;
  readonly signal?: AbortSignal;
}

/** A model that reads one window of tokens after the other, some tokens a step. */
export class ModelScorer {
  readonly vocabulary: number;
  /** Most tokens of one {@link ModelScorer.step}. */
  readonly stepTokens: number;
  private readonly runtime: ModelRuntime;
  private readonly batch: StepBatch;

  private constructor(runtime: ModelRuntime) {
    this.runtime = runtime;
    const { vocabulary, maxBatchTokens, blocks } = runtime.limits;
    this.vocabulary = vocabulary;
    this.stepTokens = maxBatchTokens;
    this.batch = {
      sequences: 1,
      tokens: new Int32Array(maxBatchTokens),
      tokenOffsets: new Int32Array(2),
      contextStarts: new Int32Array(1),
      blockTables: Int32Array.from({ length: blocks }, (_, block) => block),
      blockTableStride: blocks,
    };
  }

  /** @param vocabulary - size of it, as `config.json` says. */
  static async open(path: string, vocabulary: number, options: ScorerOptions): Promise<ModelScorer> {
    const { contextTokens, ...rest } = options;
    const fitting = Math.max(1, Math.floor(LOGITS_PER_STEP / vocabulary));
    const runtime = await openRuntime(path, {
      ...rest,
      blocks: Math.ceil(contextTokens / BLOCK_TOKENS),
      blockSizeTokens: BLOCK_TOKENS,
      maxBatchTokens: Math.min(fitting, MAX_STEP_TOKENS, contextTokens),
      maxSequences: 1,
      maxContextTokens: contextTokens,
    });
    return new ModelScorer(runtime);
  }

  /** Reads tokens without logits. */
  skip(tokens: Int32Array, position: number): void {
    this.runtime.forward(this.fill(tokens, position));
  }

  /**
   * Logits `[tokens, vocabulary]` after each token.
   *
   * @param position - of the first token in the window; 0 starts a new one.
   */
  step(tokens: Int32Array, position: number): Float32Array {
    return this.runtime.forwardAll(this.fill(tokens, position));
  }

  close(): void {
    this.runtime.close();
  }

  private fill(tokens: Int32Array, position: number): StepBatch {
    this.batch.tokens.set(tokens);
    this.batch.tokenOffsets[1] = tokens.length;
    this.batch.contextStarts[0] = position;
    return this.batch;
  }
}
