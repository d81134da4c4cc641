import { DetectError } from '../errors.js';
import { tooShort } from '../scores/checks.js';
import { type DetectorName, detectorOf, type Orientation } from '../scores/detectors.js';
import type { TopKToken } from '../scores/glimpse.js';
import { GrowingArray } from '../scores/growing-array.js';
import { TextScorer, type TextScorerOptions } from '../scores/text-scorer.js';
import type { TextStatistics } from '../scores/text-statistics.js';
import { type ModelPair, needCapability } from './capability.js';
import type { LanguageModel, ModelIdentity, ScoreOptions, TokenScore } from './language-model.js';

/** Options of {@link measureText} and {@link scoreText}: the models, and how to score. */
export interface MeasureOptions
  extends ModelPair,
    ScoreOptions,
    Pick<TextScorerOptions, 'precision' | 'temperature' | 'top' | 'sampling'> {}

/** Identities of the models behind a score. */
export interface ModelPairIdentity {
  readonly performer: ModelIdentity;
  readonly observer?: ModelIdentity;
}

/** A text after one pass through its models. */
export interface MeasuredText {
  /** Arrays that the models cannot fill are empty; {@link scoreMeasured} checks that before a detector reads them. */
  readonly statistics: TextStatistics;
  /** Ids and texts of all tokens, the first included. */
  readonly tokens: readonly { readonly id: number; readonly text: string | undefined }[];
  /** Top log-probabilities of each scored token, where the model gives them: for {@link glimpse}. */
  readonly topK: readonly TopKToken[];
  /** Whether both vocabularies were cut to the shorter, as Fast-DetectGPT does and Binoculars does not allow. */
  readonly vocabularyCut: boolean;
  readonly models: ModelPair;
}

/** A detector's score of a text, with what a threshold is checked against. */
export interface DetectorScore {
  readonly detector: DetectorName;
  readonly value: number;
  readonly orientation: Orientation;
  /** Scored tokens. */
  readonly tokens: number;
  readonly models: ModelPairIdentity;
}

/**
 * Runs a text through one or two models, position by position; two full logit tensors never exist here at once.
 *
 * @throws DetectError `detect/model-mismatch` when the models split the text into different tokens
 */
export async function measureText(text: string, options: MeasureOptions): Promise<MeasuredText> {
  const { performer, observer } = options;
  const full =
    performer.capability.distribution === 'full' &&
    (observer === undefined || observer.capability.distribution === 'full');
  return full ? await measureRows(text, options) : await measureTokens(text, options);
}

/** A detector's score from a measured text. */
export function scoreMeasured(name: DetectorName, measured: MeasuredText): DetectorScore {
  const detector = detectorOf(name);
  const { models, statistics } = measured;
  needCapability(detector, models);
  if (detector.needs === 'pair' && measured.vocabularyCut) throw differentVocabularies(models);
  return {
    detector: name,
    value: detector.score(statistics),
    orientation: detector.orientation,
    tokens: statistics.tokens.length,
    models: {
      performer: models.performer.identity,
      ...(models.observer !== undefined && { observer: models.observer.identity }),
    },
  };
}

/**
 * A detector's score of a text.
 *
 * @throws DetectError `detect/capability` before any model runs, when the models give less than the detector needs
 */
export async function scoreText(
  name: DetectorName,
  text: string,
  options: MeasureOptions,
): Promise<DetectorScore> {
  needCapability(detectorOf(name), options);
  return scoreMeasured(name, await measureText(text, options));
}

async function measureRows(text: string, options: MeasureOptions): Promise<MeasuredText> {
  const models = modelsOf(options);
  const tokens: { id: number; text: string | undefined }[] = [];
  let scorer: TextScorer | undefined;
  let vocabulary = 0;
  let cut = false;
  for await (const [score, other] of zip(text, options)) {
    const row = rowOf(score, models.performer);
    const otherRow = other === undefined ? undefined : rowOf(other, models.observer!);
    if (scorer === undefined) {
      vocabulary = Math.min(row.length, otherRow?.length ?? row.length);
      cut = otherRow !== undefined && otherRow.length !== row.length;
      scorer = new TextScorer({ ...options, vocabulary });
    }
    tokens.push({ id: score.tokenId, text: score.text });
    scorer.push(trim(row, vocabulary), otherRow === undefined ? undefined : trim(otherRow, vocabulary), {
      nextToken: score.nextTokenId,
    });
  }
  if (scorer === undefined) throw tooShort('a score', 1, 0);
  return { statistics: scorer.finish(), tokens, topK: [], vocabularyCut: cut, models };
}

async function measureTokens(text: string, options: MeasureOptions): Promise<MeasuredText> {
  const models = modelsOf(options);
  const tokens: { id: number; text: string | undefined }[] = [];
  const logProb = new GrowingArray();
  const rank = new GrowingArray();
  const topK: TopKToken[] = [];
  for await (const score of models.performer.score(text, options)) {
    tokens.push({ id: score.tokenId, text: score.text });
    if (score.logProb === undefined) continue;
    logProb.push(score.logProb);
    if (score.rank !== undefined) rank.push(score.rank);
    if (score.topLogProbs !== undefined && score.topLogProbs.length > 0)
      topK.push({ logProb: score.logProb, topLogProbs: score.topLogProbs });
  }
  if (tokens.length === 0) throw tooShort('a score', 1, 0);
  const none = new Float64Array(0);
  const statistics: TextStatistics = {
    precision: options.precision ?? 'fast',
    temperature: 1,
    hasObserver: false,
    tokens: {
      length: logProb.length,
      logProb: logProb.toArray(),
      rank: rank.toArray(),
      bestLogProb: none,
      entropy: none,
      variance: none,
      crossEntropy: none,
      crossVariance: none,
      topEntropy: none,
    },
    labelLosses: logProb.toArray().map((value) => -value),
    crossEntropies: none,
    alignedCrossEntropies: none,
    sampledLogProbs: none,
    samples: 0,
  };
  return { statistics, tokens, topK, vocabularyCut: false, models };
}

function modelsOf({ performer, observer }: ModelPair): ModelPair {
  return { performer, ...(observer !== undefined && { observer }) };
}

/** Both models' scores of each token; the iterators are closed whatever happens. */
async function* zip(
  text: string,
  options: MeasureOptions,
): AsyncGenerator<[TokenScore, TokenScore | undefined]> {
  const { performer, observer } = options;
  const first = performer.score(text, options)[Symbol.asyncIterator]();
  // One model in both roles runs once.
  const second =
    observer === undefined || observer === performer
      ? undefined
      : observer.score(text, options)[Symbol.asyncIterator]();
  try {
    for (let position = 0; ; position++) {
      const a = await first.next();
      const b = second === undefined ? a : await second.next();
      if (a.done === true && b.done === true) return;
      if (a.done === true || b.done === true || a.value.tokenId !== b.value.tokenId)
        throw differentTokens(options, position);
      if (a.value.nextTokenId !== b.value.nextTokenId) throw differentTokens(options, position + 1);
      yield [a.value, observer === undefined ? undefined : b.value];
    }
  } finally {
    await Promise.allSettled([first.return?.(), second?.return?.()]);
  }
}

function rowOf(score: TokenScore, model: LanguageModel): Float32Array {
  if (score.row !== undefined) return score.row;
  throw new DetectError({
    code: 'detect/bad-response',
    message: `expected a row of logits from ${model.identity.name}, got none at token ${score.tokenId}`,
    value: score.tokenId,
    remedy: 'a model whose capability is full must give a row at every token',
  });
}

function trim(row: Float32Array, length: number): Float32Array {
  return row.length === length ? row : row.subarray(0, length);
}

function differentTokens(models: ModelPair, position: number): DetectError {
  return new DetectError({
    code: 'detect/model-mismatch',
    message: `expected both models to split the text alike, got different tokens at position ${position}`,
    value: [models.performer.identity.name, models.observer?.identity.name],
    remedy: 'use two models that share a tokenizer, and the same maxTokens',
  });
}

function differentVocabularies(models: ModelPair): DetectError {
  const sizes = [models.performer, models.observer].map((model) => model?.identity.vocabulary);
  return new DetectError({
    code: 'detect/model-mismatch',
    message: `expected one vocabulary for Binoculars, got ${sizes.join(' and ')} entries`,
    value: sizes,
    remedy:
      'use a base model and its instruction-tuned variant, or Fast-DetectGPT, which cuts to the shorter',
  });
}
