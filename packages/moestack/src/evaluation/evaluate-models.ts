import { setImmediate } from 'node:timers/promises';
import { loadTokenizer, type Precision, readConfig, type Tokenizer } from '@moestack/model';
import { BenchmarkRecord, type BenchmarkSubject } from '@moestack/schemas';
import { AbortedError } from '@moestack/schemas/errors';
import { CliError } from '../errors.js';
import { packageVersion } from '../version.js';
import { readDocuments } from './documents.js';
import { ModelScorer } from './model-scorer.js';
import { TokenScores } from './token-scores.js';
import { identifyWeights } from './weights-digest.js';
import { planWindows, type ScoringWindow } from './windows.js';

/** A model to evaluate. */
export interface EvaluatedModel {
  /** Hugging Face directory. */
  readonly path: string;
  /** In the record; default the path as given. */
  readonly name?: string;
  /** Default: as `@moestack/model` chooses, `fp8-weights` for FP8 checkpoints, else `f32`. */
  readonly precision?: Precision;
}

/** Options of {@link evaluateModels}. */
export interface EvaluateOptions {
  readonly subject: EvaluatedModel;
  /** What the subject was converted from. Without it only perplexity and bits per byte are measured. */
  readonly baseline?: EvaluatedModel;
  readonly data: {
    /** UTF-8 text, or `.jsonl` with a `text` on each line. */
    readonly path: string;
    readonly name?: string;
    readonly license?: string;
    readonly source?: string;
    readonly split?: string;
  };
  /** Longest window; default and upper bound: the models' position range, default at most 4096. */
  readonly contextTokens?: number;
  /** New tokens of each window of a longer document; default half of `contextTokens`. */
  readonly strideTokens?: number;
  /** Stops after about this many scored tokens. */
  readonly maxTokens?: number;
  /** Written into the record; default the call of this function. */
  readonly command?: string;
  /** Called as tokens are scored. */
  readonly onProgress?: (progress: EvaluationProgress) => void;
  readonly signal?: AbortSignal;
}

/** How far an evaluation is. */
export type EvaluationProgress =
  | { readonly phase: 'loading'; readonly done: number; readonly total: number }
  | { readonly phase: 'scoring'; readonly done: number; readonly total: number };

const DEFAULT_CONTEXT = 4096;

/**
 * Perplexity, bits per byte and, against a baseline, Kullback-Leibler divergence of a language model on texts.
 *
 * Both models read the same tokens step by step; the logits of one step are all that is held of them. Each token but
 * the first of a document is predicted once, in windows if the document is longer than the context.
 *
 * @throws {@link CliError} for data or sizes that do not fit, or models with different tokens; errors of
 * `@moestack/model` for models that cannot be loaded; `AbortedError` when `signal` fires.
 */
export async function evaluateModels(options: EvaluateOptions): Promise<BenchmarkRecord> {
  const { subject, baseline, data, maxTokens, signal } = options;
  if (maxTokens !== undefined) checkSize('maxTokens', maxTokens, Number.MAX_SAFE_INTEGER);
  const models = baseline === undefined ? [subject] : [subject, baseline];
  const { vocabulary, contextTokens } = await agree(models, options.contextTokens);
  const strideTokens = options.strideTokens ?? Math.ceil(contextTokens / 2);
  checkSize('strideTokens', strideTokens, contextTokens);
  const { dataset, documents } = await readDocuments(data.path, data);
  const tokenizer = await commonTokenizer(models, documents[0]!);
  const encoded = documents.map((document) => tokenizer.encode(document));
  const tokens = encoded.reduce((sum, { length }) => sum + length, 0);
  const work = takeWindows(encoded, { contextTokens, strideTokens, maxTokens });
  if (work.length === 0) throw tooShort(data.path);
  const scores = new TokenScores(baseline !== undefined);
  const scorers: ModelScorer[] = [];
  try {
    for (const [index, { path, precision }] of models.entries()) {
      const scorer = await ModelScorer.open(path, vocabulary, {
        contextTokens,
        ...(precision !== undefined && { precision }),
        ...(signal !== undefined && { signal }),
        onProgress: ({ loadedBytes, totalBytes }) => {
          const done = (index + loadedBytes / Math.max(totalBytes, 1)) / models.length;
          options.onProgress?.({ phase: 'loading', done, total: 1 });
        },
      });
      scorers.push(scorer);
    }
    await scoreAll(work, { scorers, tokenizer, scores, options });
  } finally {
    for (const scorer of scorers) scorer.close();
  }
  const record: BenchmarkRecord = {
    schemaVersion: 1,
    name: 'language-model',
    dataset: { ...dataset, tokens },
    ...(data.split !== undefined && { slice: { split: data.split } }),
    subject: await describe(subject, signal),
    ...(baseline !== undefined && { baseline: await describe(baseline, signal) }),
    settings: { contextTokens, strideTokens, maxTokens: maxTokens ?? null },
    figures: scores.figures(),
    createdWith: {
      command: options.command ?? 'evaluateModels()',
      package: 'moestack',
      version: packageVersion(),
      node: process.versions.node,
    },
  };
  return BenchmarkRecord.parse(record);
}

interface Work {
  readonly tokens: Int32Array;
  readonly window: ScoringWindow;
}

function takeWindows(
  encoded: readonly Int32Array[],
  limits: { contextTokens: number; strideTokens: number; maxTokens: number | undefined },
): Work[] {
  const { contextTokens, strideTokens, maxTokens = Number.POSITIVE_INFINITY } = limits;
  const work: Work[] = [];
  let scored = 0;
  for (const tokens of encoded) {
    for (const window of planWindows(tokens.length, contextTokens, strideTokens)) {
      if (scored >= maxTokens) return work;
      work.push({ tokens, window });
      scored += window.inputs - window.firstScored;
    }
  }
  return work;
}

interface Run {
  readonly scorers: readonly ModelScorer[];
  readonly tokenizer: Tokenizer;
  readonly scores: TokenScores;
  readonly options: EvaluateOptions;
}

async function scoreAll(work: readonly Work[], run: Run): Promise<void> {
  const { onProgress } = run.options;
  const total = work.reduce((sum, { window }) => sum + window.inputs, 0);
  let done = 0;
  for (const { tokens, window } of work) {
    await scoreWindow(tokens, window, run, (count) => {
      done += count;
      onProgress?.({ phase: 'scoring', done, total });
    });
  }
}

async function scoreWindow(
  tokens: Int32Array,
  { start, inputs, firstScored }: ScoringWindow,
  { scorers, tokenizer, scores, options: { signal } }: Run,
  advance: (tokens: number) => void,
): Promise<void> {
  const [subject, baseline] = scorers as [ModelScorer, ModelScorer?];
  for (let position = 0; position < inputs; ) {
    // Steps are synchronous: between them signals and progress get their turn.
    await setImmediate();
    if (signal?.aborted) throw new AbortedError('evaluateModels', signal.reason);
    const isScored = position >= firstScored;
    const end = Math.min(position + subject.stepTokens, isScored ? inputs : firstScored);
    const piece = tokens.subarray(start + position, start + end);
    if (isScored) {
      const logits = subject.step(piece, position);
      const original = baseline?.step(piece, position);
      for (let row = 0; row < piece.length; row++) {
        const target = tokens[start + position + row + 1]!;
        scores.add({ logits, original, row, vocabulary: subject.vocabulary, target });
        scores.addBytes(tokenizer.tokenBytes(target).length);
      }
    } else {
      for (const scorer of scorers) scorer.skip(piece, position);
    }
    advance(end - position);
    position = end;
  }
}

/** Vocabulary and context that fit all models. */
async function agree(
  models: readonly EvaluatedModel[],
  contextTokens: number | undefined,
): Promise<{ vocabulary: number; contextTokens: number }> {
  const configs = await Promise.all(models.map(({ path }) => readConfig(path)));
  const vocabularies = new Set(configs.map((config) => config.vocab_size));
  if (vocabularies.size > 1) {
    throw new CliError({
      code: 'cli/different-models',
      message: `expected models of one vocabulary, got sizes ${[...vocabularies].join(' and ')}`,
      value: [...vocabularies],
      remedy: 'compare a model with what it was converted from',
    });
  }
  const range = Math.min(...configs.map((config) => config.max_position_embeddings));
  const context = contextTokens ?? Math.min(range, DEFAULT_CONTEXT);
  checkSize('contextTokens', context, range);
  return { vocabulary: configs[0]!.vocab_size, contextTokens: context };
}

/** The subject's tokenizer, or where a conversion left it behind the baseline's; both must agree. */
async function commonTokenizer(models: readonly EvaluatedModel[], sample: string): Promise<Tokenizer> {
  const loaded = await Promise.allSettled(models.map(({ path }) => loadTokenizer(path)));
  const tokenizers = loaded.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const [first, second] = tokenizers;
  if (first === undefined) throw (loaded[0] as PromiseRejectedResult).reason;
  const probe = sample.slice(0, 10_000);
  if (second !== undefined && first.encode(probe).join() !== second.encode(probe).join()) {
    throw new CliError({
      code: 'cli/different-models',
      message: 'the tokenizers of the two models split the text differently',
      remedy: 'compare a model with what it was converted from',
    });
  }
  return first;
}

async function describe(
  { path, name = path, precision }: EvaluatedModel,
  signal: AbortSignal | undefined,
): Promise<BenchmarkSubject> {
  const weights = await identifyWeights(path, signal);
  return { name, kind: 'model', sha256: weights.sha256, recipe: precision ?? weights.precision };
}

function checkSize(name: string, value: number, maximum: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= maximum) return;
  throw new CliError({
    code: 'cli/bad-options',
    message: `expected a whole number from 1 to ${maximum} for ${name}, got ${value}`,
    value,
    remedy: 'choose a size within the range, or leave it to the default',
  });
}

function tooShort(path: string): CliError {
  return new CliError({
    code: 'cli/bad-data',
    message: `${path} holds no document of two tokens or more`,
    value: path,
    remedy: 'pass a longer text',
  });
}
