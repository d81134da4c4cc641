import { needInteger } from '../scores/checks.js';
import { Deadline } from './deadline.js';
import { badResponse } from './http-client.js';
import type { LanguageModel, ScoreOptions, TokenScore } from './language-model.js';
import { importPeer, modelFailure } from './peer.js';
import { maxTokensOf, prepareText } from './prepare-text.js';

/** Options of {@link loadTransformersModel}. */
export interface TransformersOptions {
  /** Type of the ONNX file: `fp32` reads `onnx/model.onnx`, `q8` `onnx/model_quantized.onnx` and so on. Default `fp32`. */
  readonly dtype?: string;
  /** Execution device. Default `cpu`. */
  readonly device?: string;
  /** Name in thresholds. Default: the directory's name. */
  readonly name?: string;
  /** The imported package, for installations where it cannot be resolved from here. */
  readonly transformers?: unknown;
}

/** What is used of a tensor of transformers.js. */
interface Tensor {
  readonly dims: readonly number[];
  readonly data: ArrayLike<number | bigint>;
  dispose?(): void;
}
interface CausalModel {
  (inputs: Record<string, Tensor>): Promise<{ logits?: Tensor }>;
  dispose(): Promise<unknown>;
}
interface Tokenizer {
  (text: string, options: { truncation: boolean; max_length: number }): { input_ids: Tensor };
  decode(ids: number[], options: Record<string, unknown>): string;
}
interface TransformersModule {
  readonly env: { allowRemoteModels: boolean; allowLocalModels: boolean; localModelPath: string };
  readonly AutoTokenizer: { from_pretrained(name: string, options: object): Promise<Tokenizer> };
  readonly AutoModelForCausalLM: { from_pretrained(name: string, options: object): Promise<CausalModel> };
}

/**
 * A causal language model in ONNX format from a local directory (config.json, tokenizer files, `onnx/model*.onnx`), run by the
 * optional package `@huggingface/transformers`. Nothing is downloaded.
 *
 * The runtime returns logits of all positions at once: a text of T tokens holds T times the vocabulary in float32 while it is
 * scored. Exports that return the last position only are refused.
 *
 * @example
 * ```ts
 * import { loadTransformersModel } from '@moestack/detect/transformers';
 *
 * console.log(typeof loadTransformersModel); // await loadTransformersModel('./models/gpt2')
 * ```
 */
export async function loadTransformersModel(
  directory: string,
  options: TransformersOptions = {},
): Promise<LanguageModel> {
  const { dtype = 'fp32', device = 'cpu' } = options;
  const transformers = (options.transformers ??
    (await importPeer(
      '@huggingface/transformers',
      'npm install @huggingface/transformers, or pass it as the option "transformers"',
    ))) as TransformersModule;
  const path = directory.replace(/[\\/]+$/, '');
  const split = Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\'));
  const folder = split < 0 ? './' : path.slice(0, split + 1);
  const name = path.slice(split + 1);

  const { env } = transformers;
  const saved = { ...env };
  let tokenizer: Tokenizer;
  let model: CausalModel;
  try {
    // The library finds local models by this global setting only.
    env.allowRemoteModels = false;
    env.allowLocalModels = true;
    env.localModelPath = folder;
    tokenizer = await transformers.AutoTokenizer.from_pretrained(name, { local_files_only: true });
    model = await transformers.AutoModelForCausalLM.from_pretrained(name, {
      local_files_only: true,
      dtype,
      device,
    });
  } catch (cause) {
    throw modelFailure(`could not load the ONNX model in ${directory}`, cause);
  } finally {
    env.allowRemoteModels = saved.allowRemoteModels;
    env.allowLocalModels = saved.allowLocalModels;
    env.localModelPath = saved.localModelPath;
  }

  const identity = { name: options.name ?? name, dtype };
  return {
    identity,
    capability: { distribution: 'full' },
    async *score(text: string, scoreOptions: ScoreOptions = {}): AsyncGenerator<TokenScore> {
      const maxTokens = maxTokensOf(scoreOptions);
      const deadline = new Deadline(`scoring by ${identity.name}`, scoreOptions);
      const prepared = prepareText(text, maxTokens);
      if (prepared === '') return;
      deadline.check();
      const inputs = tokenizer(prepared, { truncation: true, max_length: maxTokens });
      const ids = Int32Array.from(inputs.input_ids.data, Number);
      let logits: Tensor | undefined;
      try {
        logits = (await deadline.wait(model({ ...inputs }))).logits;
      } catch (cause) {
        deadline.check();
        throw modelFailure(`${identity.name} failed on ${ids.length} tokens`, cause);
      }
      try {
        deadline.check();
        const { data, vocabulary } = checkLogits(identity.name, logits, ids.length);
        for (let t = 0; t < ids.length; t++) {
          yield {
            tokenId: ids[t]!,
            nextTokenId: ids[t + 1] ?? -1,
            text: tokenizer.decode([ids[t]!], { skip_special_tokens: false }),
            row: data.subarray(t * vocabulary, (t + 1) * vocabulary),
          };
        }
      } finally {
        logits?.dispose?.();
      }
    },
    close: async () => {
      await model.dispose();
    },
  };
}

function checkLogits(
  name: string,
  logits: Tensor | undefined,
  tokens: number,
): { data: Float32Array; vocabulary: number } {
  const dims = logits?.dims ?? [];
  const [batch, positions, vocabulary = 0] = dims;
  if (logits === undefined || dims.length !== 3 || batch !== 1 || positions !== tokens) {
    throw badResponse(
      name,
      `logits of all ${tokens} positions [1, ${tokens}, vocabulary]`,
      `[${dims.join(', ')}]; export the model without num_logits_to_keep`,
    );
  }
  needInteger('vocabulary', vocabulary, 1, 1 << 26);
  const data = logits.data instanceof Float32Array ? logits.data : Float32Array.from(logits.data, Number);
  if (data.length !== tokens * vocabulary)
    throw badResponse(name, `${tokens * vocabulary} logits`, String(data.length));
  return { data, vocabulary };
}
