import { DetectError } from '../errors.js';
import { needLength, needVocabulary } from './checks.js';
import { type DetectorName, detectorOf } from './detectors.js';
import { TextScorer } from './text-scorer.js';
import type { ScorePrecision, TextStatistics } from './text-statistics.js';

/** Logits of two models for one row of a batch; position t predicts token t + 1. */
export interface PairLogits {
  /** Entries of a row of logits. */
  readonly vocab: number;
  /** `[T, vocab]`: Binoculars' observer, Fast-DetectGPT's reference model. */
  readonly observer: Float32Array;
  /** `[T, vocab]`: the model that scores. */
  readonly performer: Float32Array;
  /** Token ids `[T]`. */
  readonly ids: Int32Array;
  /** Attention mask `[T]`, 1 for tokens of the text. Default: all 1. */
  readonly mask?: Uint8Array;
  /**
   * Pad token. Binoculars' cross-entropy skips every position that holds it, also inside the text (the reference code does so).
   * Default: none; positions outside the mask are skipped then.
   */
  readonly padTokenId?: number;
}

/** Options of {@link fromLogits} and {@link statisticsFromLogits}. */
export interface FromLogitsOptions {
  /** Default `fast`; see {@link TextScorerOptions.precision}. */
  readonly precision?: ScorePrecision;
  /** Divides all logits. Default 1. */
  readonly temperature?: number;
  /** As {@link TextScorerOptions.top}. */
  readonly top?: number;
  /** Sample ids `[samples, tokens]` for sampled detectors, tokens = scored tokens of the text. */
  readonly sampleIds?: Int32Array;
  /** Number of samples in `sampleIds`. */
  readonly samples?: number;
}

/**
 * A detector's score from logits that are all in memory; {@link TextScorer} does the same from rows as they come.
 *
 * Scores are the published statistics: rank, log-rank and entropy are positive means (low means AI); see
 * {@link detectors} for each orientation.
 *
 * @throws DetectError `detect/too-short` when nothing can be scored (a single token): abstain; `detect/undefined-score`
 * where a score would be NaN; `detect/not-finite` for NaN or +Infinity logits at positions that count
 *
 * @example
 * ```ts
 * import { fromLogits } from '@moestack/detect';
 *
 * const observer = Float32Array.of(2, 1, 0, 0, 1, 2, 1, 1, 1);
 * const performer = Float32Array.of(1, 1, 0, 0, 2, 2, 1, 0, 1);
 * const ids = Int32Array.of(0, 1, 2);
 * console.log(fromLogits('binoculars', { vocab: 3, observer, performer, ids }));
 * ```
 */
export function fromLogits(
  detector: DetectorName,
  input: PairLogits,
  options: FromLogitsOptions = {},
): number {
  const found = detectorOf(detector);
  if (options.precision === 'bf16' && detector !== 'binoculars') throw onlyBinoculars(detector);
  return found.score(statisticsFromLogits(input, options));
}

/** One pass over the logits of a text; every detector and variant is a function of the result. */
export function statisticsFromLogits(input: PairLogits, options: FromLogitsOptions = {}): TextStatistics {
  const { vocab, observer, performer, ids, mask, padTokenId } = input;
  const { sampleIds, samples = 0 } = options;
  const length = ids.length;
  needVocabulary(vocab);
  needLength('observer', observer, length * vocab);
  needLength('performer', performer, length * vocab);
  if (mask !== undefined) needLength('mask', mask, length);
  const counts = (t: number): boolean => mask === undefined || mask[t] !== 0;

  const scorer = new TextScorer({
    vocabulary: vocab,
    ...(options.precision !== undefined && { precision: options.precision }),
    ...(options.temperature !== undefined && { temperature: options.temperature }),
    ...(options.top !== undefined && { top: options.top }),
  });
  let scored = 0;
  for (let t = 0; t < length; t++) scored += t > 0 && counts(t - 1) && counts(t) ? 1 : 0;
  if (sampleIds !== undefined) needLength('sampleIds', sampleIds, samples * scored);

  let token = 0;
  for (let t = 0; t < length; t++) {
    const last = t + 1 === length;
    const insideText = !last && counts(t) && counts(t + 1);
    scorer.push(
      performer.subarray(t * vocab, (t + 1) * vocab),
      observer.subarray(t * vocab, (t + 1) * vocab),
      {
        // Ids outside the mask are not looked at.
        nextToken: !last && counts(t + 1) ? ids[t + 1]! : -1,
        labelCounts: !last && counts(t + 1),
        crossCounts: padTokenId === undefined ? counts(t) : ids[t] !== padTokenId,
        insideText,
        ...(sampleIds !== undefined &&
          insideText && {
            sampleIds: Int32Array.from({ length: samples }, (_, s) => sampleIds[s * scored + token]!),
          }),
      },
    );
    if (insideText) token++;
  }
  return scorer.finish();
}

function onlyBinoculars(name: string): DetectError {
  return new DetectError({
    code: 'detect/bad-config',
    message: `expected precision fast, f64 or f32 for ${name}, got bf16`,
    value: name,
    remedy:
      'only Binoculars is published in bfloat16; the other reference programs compute in float32 or float16',
  });
}
