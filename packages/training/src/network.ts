import { TrainingError } from './errors.js';
import { KeptRows } from './kept-rows.js';
import { Attention, attentionScratch } from './modules/attention.js';
import { Experts, expertScratch } from './modules/experts.js';
import { GatedMlp, type MlpScratch, mlpRooms } from './modules/gated-mlp.js';
import { LanguageHead } from './modules/language-head.js';
import { RmsNorm } from './modules/rms-norm.js';
import type { BoundParameter, Runtime } from './runtime.js';

/** One transformer layer: h = x + attention(norm x), y = h + mlp(norm h). */
interface Block {
  /** What is kept of the residual stream: inputs of the two norms `[tokens, hidden]`. */
  readonly input: KeptRows;
  readonly middle: KeptRows;
  readonly attentionNorm: RmsNorm;
  readonly attention: Attention;
  readonly mlpNorm: RmsNorm;
  readonly dense: GatedMlp | undefined;
  readonly experts: Experts | undefined;
}

/** What forward keeps for backward, per token. */
export interface SavedBytes {
  readonly perToken: number;
  /** The same elements in bfloat16. */
  readonly bf16PerToken: number;
}

/** The whole network of one rank, forward and backward. */
export class Network {
  readonly #runtime: Runtime;
  readonly #embedding: BoundParameter;
  readonly #blocks: readonly Block[];
  readonly #head: LanguageHead;
  readonly #output: Float32Array;
  readonly #normed: Float32Array;
  readonly #branch: Float32Array;
  readonly #gradient: Float32Array;
  readonly #inputs: Int32Array;
  readonly #targets: Int32Array;

  constructor(runtime: Runtime) {
    const { arena, tokens, config } = runtime;
    const { model } = config;
    this.#runtime = runtime;
    this.#embedding = runtime.parameter('model.embed_tokens.weight');
    const attention = attentionScratch(runtime);
    const hasExperts = model.denseLayers < model.layers;
    const width = Math.max(
      model.denseLayers > 0 ? model.denseWidth : 0,
      hasExperts ? Math.max(model.sharedExperts, 1) * model.expertWidth : 0,
    );
    const mlp: MlpScratch = {
      gate: arena.f32(tokens * width),
      up: arena.f32(tokens * width),
      hidden: arena.f32(tokens * width),
    };
    const experts = hasExperts ? expertScratch(runtime) : undefined;
    const size = tokens * model.hiddenSize;
    const [inputs, middles] = [arena.f32(size), arena.f32(size)];
    const roles = { up: 'default', down: 'default' } as const;
    this.#blocks = Array.from({ length: model.layers }, (_, layer) => {
      const prefix = `model.layers.${layer}`;
      const isDense = layer < model.denseLayers || experts === undefined;
      return {
        input: new KeptRows(runtime, inputs),
        middle: new KeptRows(runtime, middles),
        attentionNorm: new RmsNorm(runtime, `${prefix}.input_layernorm.weight`, { accumulate: true }),
        attention: new Attention(runtime, `${prefix}.self_attn`, attention),
        mlpNorm: new RmsNorm(runtime, `${prefix}.post_attention_layernorm.weight`, { accumulate: true }),
        dense: isDense
          ? new GatedMlp(runtime, `${prefix}.mlp`, mlpRooms(runtime, roles, tokens, model.denseWidth), mlp)
          : undefined,
        experts: isDense ? undefined : new Experts(runtime, `${prefix}.mlp`, mlp, experts),
      };
    });
    this.#head = new LanguageHead(runtime);
    this.#output = arena.f32(size);
    this.#normed = arena.f32(size);
    this.#branch = arena.f32(size);
    this.#gradient = arena.f32(size);
    this.#inputs = new Int32Array(tokens);
    this.#targets = new Int32Array(tokens);
  }

  /** The expert layers, first to last. */
  get expertLayers(): readonly Experts[] {
    return this.#blocks.flatMap(({ experts }) => experts ?? []);
  }

  /** Rounds or quantises all weights; to be called whenever the master weights changed. */
  prepare(): void {
    for (const layer of this.#runtime.layers) layer.prepare();
  }

  /**
   * Mean loss of a batch `[sequences, context + 1]`, in nats per token; adds all gradients with `gradients`.
   *
   * @param options - `isFrozen`: the experts of the last forward are used again.
   */
  loss(batch: Int32Array, options: { gradients: boolean; isFrozen?: boolean }): number {
    this.#split(batch);
    this.#forward(options.isFrozen === true);
    const gradient = options.gradients ? this.#gradient : undefined;
    const loss = this.#head.loss(this.#output, this.#targets, gradient);
    if (options.gradients) this.#backward();
    return loss;
  }

  /** Logits `[tokens, vocabulary]` at every position of a batch `[sequences, context + 1]`. */
  logits(batch: Int32Array): Float32Array {
    this.#split(batch);
    this.#forward(false);
    const out = new Float32Array(this.#runtime.tokens * this.#runtime.config.model.vocabularySize);
    this.#head.logits(this.#output, out);
    return out;
  }

  /** Bytes that the last forward kept for backward. */
  savedBytes(): SavedBytes {
    let bytes = 0;
    let elements = 0;
    for (const { input, middle, attention, dense, experts } of this.#blocks) {
      bytes += input.bytes + middle.bytes + attention.savedBytes;
      elements += input.values.length + middle.values.length + attention.savedElements;
      bytes += (dense?.savedBytes ?? 0) + (experts?.savedBytes ?? 0);
      elements += (dense?.savedElements ?? 0) + (experts?.savedElements ?? 0);
    }
    const { tokens } = this.#runtime;
    return { perToken: bytes / tokens, bf16PerToken: (elements * 2) / tokens };
  }

  #split(batch: Int32Array): void {
    const { sequences, config } = this.#runtime;
    const context = config.contextTokens;
    const { vocabularySize } = config.model;
    if (batch.length !== sequences * (context + 1)) {
      throw badBatch(`${sequences * (context + 1)} token ids`, batch.length);
    }
    for (let i = 0; i < batch.length; i++) {
      if (!(batch[i]! >= 0 && batch[i]! < vocabularySize))
        throw badBatch(`ids below ${vocabularySize}`, batch[i]!);
    }
    for (let s = 0; s < sequences; s++) {
      for (let t = 0; t < context; t++) {
        this.#inputs[s * context + t] = batch[s * (context + 1) + t]!;
        this.#targets[s * context + t] = batch[s * (context + 1) + t + 1]!;
      }
    }
  }

  #forward(isFrozen: boolean): void {
    const { kernels, tokens, config } = this.#runtime;
    const { hiddenSize } = config.model;
    const size = tokens * hiddenSize;
    const blocks = this.#blocks;
    const [normed, branch] = [this.#normed, this.#branch];
    const first = blocks[0]!.input.values;
    for (let t = 0; t < tokens; t++) {
      const row = this.#inputs[t]! * hiddenSize;
      for (let c = 0; c < hiddenSize; c++) first[t * hiddenSize + c] = this.#embedding.weight[row + c]!;
    }
    for (let layer = 0; layer < blocks.length; layer++) {
      const block = blocks[layer]!;
      const { input, middle } = block;
      input.keep();
      block.attentionNorm.forward(input.values, normed, tokens);
      block.attention.forward(normed, branch);
      kernels.add(input.values, branch, middle.values, size);
      middle.keep();
      block.mlpNorm.forward(middle.values, normed, tokens);
      block.dense?.forward(normed, branch, tokens, 0, undefined);
      block.experts?.forward(normed, branch, isFrozen);
      kernels.add(middle.values, branch, blocks[layer + 1]?.input.values ?? this.#output, size);
    }
  }

  /** From the gradient of the output, all gradients. */
  #backward(): void {
    const { tokens, config } = this.#runtime;
    const { hiddenSize } = config.model;
    const blocks = this.#blocks;
    const [gradient, branch] = [this.#gradient, this.#branch];
    for (let layer = blocks.length - 1; layer >= 0; layer--) {
      const block = blocks[layer]!;
      const { input, middle } = block;
      middle.load();
      if (block.dense !== undefined) block.dense.backward(gradient, branch, false, undefined, undefined);
      if (block.experts !== undefined) {
        // The gate's weight gradient needs the normed input: computed anew instead of kept.
        block.mlpNorm.forward(middle.values, this.#normed, tokens);
        block.experts.backward(this.#normed, gradient, branch);
      }
      block.mlpNorm.backward(middle.values, branch, gradient, tokens);
      block.attention.backward(gradient, branch);
      input.load();
      block.attentionNorm.backward(input.values, branch, gradient, tokens);
    }
    const into = this.#embedding.gradient;
    for (let t = 0; t < tokens; t++) {
      const row = this.#inputs[t]! * hiddenSize;
      for (let c = 0; c < hiddenSize; c++) into[row + c] = into[row + c]! + gradient[t * hiddenSize + c]!;
    }
  }
}

function badBatch(expected: string, value: number): TrainingError {
  return new TrainingError({
    code: 'training/bad-shape',
    message: `expected a batch of ${expected}, got ${value}`,
    value,
    remedy: 'pass [sequences, context + 1] ids of the tokenizer that the vocabulary size belongs to',
  });
}
