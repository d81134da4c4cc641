import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DetectError } from '../errors.js';
import type { ModelPair } from '../language-model/capability.js';
import { Deadline } from '../language-model/deadline.js';
import type { LanguageModel, ScoreOptions, TokenScore } from '../language-model/language-model.js';
import { modelFailure } from '../language-model/peer.js';
import { maxTokensOf, prepareText } from '../language-model/prepare-text.js';

/** Options of {@link loadEmbeddedModel}. */
export interface EmbeddedModelOptions {
  /** Arithmetic; default by the checkpoint, see `loadModel` of `@moestack/model`. */
  readonly precision?: 'f32' | 'bf16' | 'fp8-weights' | 'w8a8';
  /** Longest text in tokens. Default 512, or the model's position range if that is shorter. */
  readonly contextTokens?: number;
  /** Tokens per step: logits of so many positions exist at once. Default 32. */
  readonly chunkTokens?: number;
  /** Name in thresholds. Default: the directory's name and a digest of its configuration and weight sizes. */
  readonly name?: string;
  readonly signal?: AbortSignal;
}

/** Options of {@link loadEmbeddedPair}. */
export interface EmbeddedPairOptions extends Omit<EmbeddedModelOptions, 'name'> {
  /** Directory of the model that scores. Default: the checkpoint of `@moestack/tiny-moe`. */
  readonly performer?: string | URL;
  /** Directory of the observer. Default: none; the pair is then one model in both roles where a detector wants two. */
  readonly observer?: string | URL;
}

const BLOCK_TOKENS = 16;

/**
 * A DeepSeek-V2 or V3 style checkpoint (Hugging Face directory with a tokenizer), run by `@moestack/model`, an optional peer.
 *
 * @param directory - default: the checkpoint of `@moestack/tiny-moe`, a small model of stories: good for trying things out, no
 * basis for a verdict
 *
 * @example
 * ```ts
 * import { scoreText } from '@moestack/detect';
 * import { loadEmbeddedModel } from '@moestack/detect/embedded';
 *
 * const performer = await loadEmbeddedModel();
 * const { value, tokens } = await scoreText('fastDetectGpt', 'Once upon a time there was a little girl.', { performer });
 * console.log(value, tokens);
 * await performer.close();
 * ```
 */
export async function loadEmbeddedModel(
  directory?: string | URL,
  options: EmbeddedModelOptions = {},
): Promise<LanguageModel> {
  const { chunkTokens = 32 } = options;
  const library = await importModel();
  const path = pathOf(directory ?? (await importTinyMoe()));
  const config = await library.readConfig(path);
  const contextTokens = options.contextTokens ?? Math.min(512, config.max_position_embeddings);
  const chunk = Math.min(chunkTokens, contextTokens);
  const blocks = Math.ceil(contextTokens / BLOCK_TOKENS);
  const [tokenizer, runtime, digest] = await Promise.all([
    library.loadTokenizer(path),
    library.openRuntime(path, {
      ...(options.precision !== undefined && { precision: options.precision }),
      ...(options.signal !== undefined && { signal: options.signal }),
      blocks,
      blockSizeTokens: BLOCK_TOKENS,
      maxBatchTokens: chunk,
      maxSequences: 1,
      maxContextTokens: contextTokens,
    }),
    digestOf(path),
  ]);
  const { vocabulary } = runtime.limits;
  const batch = {
    sequences: 1,
    tokens: new Int32Array(chunk),
    tokenOffsets: new Int32Array(2),
    contextStarts: new Int32Array(1),
    blockTables: Int32Array.from({ length: blocks }, (_, block) => block),
    blockTableStride: blocks,
  };
  const folder = path.split(/[\\/]/).filter(Boolean).pop() ?? path;
  const identity = {
    name: options.name ?? `${folder}@${digest}`,
    // What the model library chooses by itself.
    dtype: options.precision ?? (config['quantization_config'] ? 'fp8-weights' : 'f32'),
    vocabulary,
  };
  let busy = false;

  return {
    identity,
    capability: { distribution: 'full' },
    async *score(text: string, scoreOptions: ScoreOptions = {}): AsyncGenerator<TokenScore> {
      const maxTokens = Math.min(maxTokensOf(scoreOptions), contextTokens);
      const deadline = new Deadline(`scoring by ${identity.name}`, scoreOptions);
      const ids = tokenizer.encode(prepareText(text, maxTokens)).subarray(0, maxTokens);
      if (busy) throw inUse(identity.name);
      busy = true;
      try {
        for (let start = 0; start < ids.length; start += chunk) {
          // Steps are synchronous: between them the event loop gets a turn, and deadlines are seen.
          await new Promise((resolve) => setImmediate(resolve));
          deadline.check();
          const count = Math.min(chunk, ids.length - start);
          batch.tokens.set(ids.subarray(start, start + count));
          batch.tokenOffsets[1] = count;
          batch.contextStarts[0] = start;
          const logits = runtime.forwardAll(batch);
          for (let i = 0; i < count; i++) {
            const t = start + i;
            yield {
              tokenId: ids[t]!,
              nextTokenId: ids[t + 1] ?? -1,
              text: tokenizer.tokenText(ids[t]!),
              row: logits.subarray(i * vocabulary, (i + 1) * vocabulary),
            };
          }
        }
      } finally {
        busy = false;
      }
    },
    close: async () => {
      runtime.close();
    },
  };
}

/**
 * Observer and performer from two checkpoints that share a tokenizer, for Binoculars and two-model Fast-DetectGPT. With one
 * checkpoint (the default) it plays both roles: Fast-DetectGPT is white-box then, and Binoculars compares the text's surprise
 * with the model's own entropy.
 */
export async function loadEmbeddedPair(options: EmbeddedPairOptions = {}): Promise<
  Required<ModelPair> & {
    /** Frees both models. */
    close(): Promise<void>;
  }
> {
  const { performer: performerPath, observer: observerPath, ...rest } = options;
  const performer = await loadEmbeddedModel(performerPath, rest);
  if (observerPath === undefined) return { performer, observer: performer, close: () => performer.close() };
  let observer: LanguageModel;
  try {
    observer = await loadEmbeddedModel(observerPath, rest);
    if (performer.identity.vocabulary !== observer.identity.vocabulary) {
      throw new DetectError({
        code: 'detect/model-mismatch',
        message: `expected checkpoints with one vocabulary, got ${performer.identity.vocabulary} and ${observer.identity.vocabulary} entries`,
        value: [performer.identity.vocabulary, observer.identity.vocabulary],
        remedy: 'use two checkpoints that share a tokenizer',
      });
    }
  } catch (error) {
    await performer.close();
    throw error;
  }
  return {
    performer,
    observer,
    close: async () => {
      await performer.close();
      await observer.close();
    },
  };
}

async function importModel(): Promise<typeof import('@moestack/model')> {
  try {
    return await import('@moestack/model');
  } catch (cause) {
    throw missing('@moestack/model', cause);
  }
}

async function importTinyMoe(): Promise<URL> {
  try {
    return (await import('@moestack/tiny-moe')).tinyMoe;
  } catch (cause) {
    throw missing('@moestack/tiny-moe', cause);
  }
}

function missing(name: string, cause: unknown): DetectError {
  return new DetectError({
    code: 'detect/missing-peer',
    message: `expected the package ${name} to be installed`,
    value: name,
    remedy: `npm install ${name}`,
    cause,
  });
}

function pathOf(directory: string | URL): string {
  if (typeof directory !== 'string') return fileURLToPath(directory);
  return directory.startsWith('file:') ? fileURLToPath(directory) : directory;
}

/** Digest of what tells checkpoints apart without reading weights: configuration, tokenizer, names and sizes of weight files. */
async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for (const name of (await readdir(path)).sort()) {
      if (name === 'config.json' || name === 'tokenizer.json') hash.update(await readFile(join(path, name)));
      else if (name.endsWith('.safetensors')) hash.update(`${name} ${(await stat(join(path, name))).size}`);
    }
  } catch (cause) {
    throw modelFailure(`could not read ${path}`, cause);
  }
  return hash.digest('hex').slice(0, 12);
}

function inUse(name: string): DetectError {
  return new DetectError({
    code: 'detect/model',
    message: `expected one text at a time for ${name}, got a second`,
    value: name,
    remedy: 'await the first score, or load the model twice',
  });
}
