import { Deadline } from './deadline.js';
import type { LanguageModel, ScoreOptions, TokenScore } from './language-model.js';
import { importPeer, modelFailure } from './peer.js';
import { maxTokensOf, prepareText } from './prepare-text.js';

/** Options of {@link loadLlamaModel}. */
export interface LlamaOptions {
  /** Tokens that the context holds, at least `maxTokens` of scoring. Default 512. */
  readonly contextTokens?: number;
  /** Layers on the GPU; default 0: the processor. */
  readonly gpuLayers?: number;
  /** Threads. Default: the library's choice. */
  readonly threads?: number;
  /** Tokens per call of the library. Default 8: whole distributions of a call's tokens exist at once. */
  readonly chunkTokens?: number;
  /** Put the model's start token in front, if it has one and adds it by itself. Default true. */
  readonly addSpecialTokens?: boolean;
  /** Name in thresholds. Default: the file's name. */
  readonly name?: string;
  /** The imported package, for installations where it cannot be resolved from here. */
  readonly nodeLlamaCpp?: unknown;
}

type EvaluateInput = readonly [
  token: number,
  options: { generateNext: { probabilities: true; options: Record<string, number> } },
];
interface Sequence {
  clearHistory(): Promise<void>;
  controlledEvaluate(
    input: readonly EvaluateInput[],
  ): Promise<
    readonly ({ readonly next?: { readonly probabilities?: ReadonlyMap<number, number> } } | undefined)[]
  >;
}
interface LlamaModel {
  readonly typeDescription?: string;
  readonly fileInfo: {
    readonly metadata: { readonly tokenizer?: { readonly ggml?: { readonly tokens?: readonly unknown[] } } };
  };
  readonly tokens: { readonly bos: number | null; readonly shouldPrependBosToken?: boolean };
  tokenize(text: string): number[];
  detokenize(tokens: readonly number[], specialTokens?: boolean): string;
  createContext(options: Record<string, unknown>): Promise<{ getSequence(): Sequence }>;
  dispose(): Promise<void>;
}
interface LlamaModule {
  getLlama(options: Record<string, unknown>): Promise<{
    loadModel(options: Record<string, unknown>): Promise<LlamaModel>;
    dispose(): Promise<void>;
  }>;
}

/** ln of the smallest float32: probabilities that underflow in the library are at most this. */
const UNDERFLOW = Math.log(2 ** -149);
/** The distribution as the model gives it. */
const UNTOUCHED = { temperature: 1, topK: 0, topP: 1, minP: 0 };

/**
 * A GGUF model run by llama.cpp through the optional package `node-llama-cpp`.
 *
 * The library gives probabilities in float32: those below 2^-149 come as 0 and are floored there, which moves an entropy by less
 * than 1e-40 but caps a token's surprise at 103.3 nats.
 *
 * @example
 * ```ts
 * import { loadLlamaModel } from '@moestack/detect/llama';
 *
 * console.log(typeof loadLlamaModel); // await loadLlamaModel('./qwen3-0.6b-q8_0.gguf')
 * ```
 */
export async function loadLlamaModel(path: string, options: LlamaOptions = {}): Promise<LanguageModel> {
  const { contextTokens = 512, gpuLayers = 0, chunkTokens = 8, addSpecialTokens = true } = options;
  const library = (options.nodeLlamaCpp ??
    (await importPeer(
      'node-llama-cpp',
      'npm install node-llama-cpp, or pass it as the option "nodeLlamaCpp"',
    ))) as LlamaModule;
  let llama: Awaited<ReturnType<LlamaModule['getLlama']>>;
  let model: LlamaModel;
  let sequence: Sequence;
  try {
    llama = await library.getLlama({
      build: 'never',
      ...(gpuLayers === 0 && { gpu: false }),
      ...(options.threads !== undefined && { maxThreads: options.threads }),
    });
    model = await llama.loadModel({ modelPath: path, gpuLayers });
    const context = await model.createContext({ contextSize: contextTokens, sequences: 1 });
    sequence = context.getSequence();
  } catch (cause) {
    throw modelFailure(`could not load ${path}`, cause);
  }
  const vocabulary = model.fileInfo.metadata.tokenizer?.ggml?.tokens?.length;
  const identity = {
    name: options.name ?? path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1),
    dtype: model.typeDescription ?? 'unknown',
    ...(vocabulary !== undefined && { vocabulary }),
  };
  let queue: Promise<unknown> = Promise.resolve();

  async function* run(text: string, wanted: number, deadline: Deadline): AsyncGenerator<TokenScore> {
    const maxTokens = Math.min(wanted, contextTokens);
    const prepared = prepareText(text, maxTokens);
    if (prepared === '') return;
    const { bos, shouldPrependBosToken } = model.tokens;
    const start = addSpecialTokens && shouldPrependBosToken === true && bos !== null ? [bos] : [];
    const ids = [...start, ...model.tokenize(prepared)].slice(0, maxTokens);
    await sequence.clearHistory();
    let row = new Float32Array(vocabulary ?? 0);
    for (let from = 0; from < ids.length; from += chunkTokens) {
      deadline.check();
      const chunk = ids.slice(from, from + chunkTokens);
      const results = await evaluate(chunk);
      for (let i = 0; i < chunk.length; i++) {
        const t = from + i;
        const probabilities = results[i]?.next?.probabilities;
        if (probabilities === undefined || probabilities.size === 0)
          throw modelFailure(`${identity.name} gave no probabilities`, `token ${t}`);
        if (row.length < probabilities.size) row = new Float32Array(probabilities.size);
        fillRow(row, probabilities);
        yield {
          tokenId: ids[t]!,
          nextTokenId: ids[t + 1] ?? -1,
          text: model.detokenize([ids[t]!], true),
          row,
        };
      }
    }
  }

  async function evaluate(chunk: readonly number[]): ReturnType<Sequence['controlledEvaluate']> {
    try {
      return await sequence.controlledEvaluate(
        chunk.map((token) => [token, { generateNext: { probabilities: true, options: UNTOUCHED } }] as const),
      );
    } catch (cause) {
      throw modelFailure(`${identity.name} failed`, cause);
    }
  }

  return {
    identity,
    capability: { distribution: 'full' },
    async *score(text: string, scoreOptions: ScoreOptions = {}): AsyncGenerator<TokenScore> {
      // There is one sequence: texts wait for one another, in order and no longer than their deadlines.
      const maxTokens = maxTokensOf(scoreOptions);
      const deadline = new Deadline(`scoring by ${identity.name}`, scoreOptions);
      const turn = queue;
      let release: () => void = () => {};
      const finished = new Promise<void>((resolve) => {
        release = resolve;
      });
      queue = turn.then(() => finished);
      try {
        await deadline.wait(turn);
        yield* run(text, maxTokens, deadline);
      } finally {
        release();
      }
    },
    close: async () => {
      await model.dispose();
      await llama.dispose();
    },
  };
}

function fillRow(row: Float32Array, probabilities: ReadonlyMap<number, number>): void {
  row.fill(UNDERFLOW);
  for (const [token, probability] of probabilities) {
    if (probability > 0 && token >= 0 && token < row.length) row[token] = Math.log(probability);
  }
}
