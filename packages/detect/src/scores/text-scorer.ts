import { DetectError } from '../errors.js';
import { Bfloat16RowReader } from './bfloat16-row-reader.js';
import { needBetween, needInteger, needLength, needToken, needVocabulary } from './checks.js';
import { GrowingArray } from './growing-array.js';
import { KernelRowReader } from './kernel-row-reader.js';
import { type RowReader, RowStatistics } from './row-statistics.js';
import { SampleDrawer } from './sample-drawer.js';
import { ScalarRowReader } from './scalar-row-reader.js';
import type { ScorePrecision, TextStatistics } from './text-statistics.js';
import { TopEntropy } from './top-entropy.js';

/** Options of {@link TextScorer}. */
export interface TextScorerOptions {
  /** Length of a row of logits. */
  readonly vocabulary: number;
  /**
   * - `fast` (default): SIMD, doubles; within 1e-11 relative of `f64`
   * - `f64`: plain loops with `Math.exp`
   * - `f32`: as `fast`, with every per-token value rounded to float32
   * - `bf16`: the roundings of a bfloat16 run, for Binoculars only
   */
  readonly precision?: ScorePrecision;
  /** Divides all logits of both models. Default 1. */
  readonly temperature?: number;
  /** Number of most probable tokens for {@link TokenStatistics.topEntropy}. Default 0: not computed. */
  readonly top?: number;
  /** Tokens to draw from the observer (the performer without one) at each position, for sampled discrepancies. */
  readonly sampling?: {
    readonly samples: number;
    /** Uniform numbers in [0, 1), seeded by the caller. */
    readonly random: () => number;
  };
}

/** What a row of {@link TextScorer.push} stands for. */
export interface RowLabel {
  /** Id of the token after this position; -1 at the end. */
  readonly nextToken: number;
  /** Whether the next token is a label that counts: its attention mask. Default true. */
  readonly labelCounts?: boolean;
  /** Whether this position's cross-entropy counts. Default true. */
  readonly crossCounts?: boolean;
  /** Whether position and next token both belong to the text. Default true. */
  readonly insideText?: boolean;
  /** Given sample ids for this position, instead of drawn ones. */
  readonly sampleIds?: Int32Array;
}

/**
 * Turns rows of logits into {@link TextStatistics}, one position at a time: no tensor of all positions is ever held.
 *
 * @example
 * ```ts
 * import { binoculars, TextScorer } from '@moestack/detect';
 *
 * const scorer = new TextScorer({ vocabulary: 3 });
 * const row = Float32Array.of(0.5, 1, 2);
 * scorer.push(row, row, { nextToken: 1 });
 * scorer.push(row, row, { nextToken: -1 });
 * console.log(binoculars(scorer.finish()).score);
 * ```
 */
export class TextScorer {
  readonly #vocabulary: number;
  readonly #precision: ScorePrecision;
  readonly #temperature: number;
  readonly #reader: RowReader;
  readonly #round: boolean;
  readonly #row: RowStatistics = new RowStatistics();
  readonly #top: TopEntropy | undefined;
  readonly #drawer: SampleDrawer | undefined;
  readonly #columns: readonly GrowingArray[] = Array.from({ length: 8 }, () => new GrowingArray());
  readonly #labels: GrowingArray = new GrowingArray();
  readonly #cross: GrowingArray = new GrowingArray();
  readonly #aligned: GrowingArray = new GrowingArray();
  readonly #sampled: GrowingArray = new GrowingArray();
  #samples: number = 0;
  #hasObserver: boolean | undefined;
  #position: number = 0;

  constructor(options: TextScorerOptions) {
    const { vocabulary, precision = 'fast', temperature = 1, top = 0, sampling } = options;
    needVocabulary(vocabulary);
    needBetween('temperature', temperature, 0, 1e6);
    needInteger('top', top, 0, vocabulary);
    this.#vocabulary = vocabulary;
    this.#precision = precision;
    this.#temperature = temperature;
    this.#round = precision === 'f32';
    this.#reader = createReader(precision, vocabulary, temperature);
    this.#top = top === 0 ? undefined : new TopEntropy(top);
    if (sampling !== undefined) this.#drawer = new SampleDrawer(vocabulary, temperature, sampling);
  }

  /**
   * Takes the logits of one position.
   *
   * @param performer - `[vocabulary]`, the model that scores
   * @param observer - `[vocabulary]`, the second model (Binoculars' observer, Fast-DetectGPT's reference), or undefined
   */
  push(performer: Float32Array, observer: Float32Array | undefined, label: RowLabel): void {
    const { nextToken, labelCounts = true, crossCounts = true, insideText = true } = label;
    needLength('performer', performer, this.#vocabulary);
    if (observer !== undefined) needLength('observer', observer, this.#vocabulary);
    if (this.#hasObserver !== undefined && this.#hasObserver !== (observer !== undefined))
      throw changedModels();
    const hasLabel = nextToken !== -1;
    if (hasLabel) needToken(nextToken, this.#vocabulary, this.#position + 1);
    this.#hasObserver = observer !== undefined;
    this.#position++;
    const scored = hasLabel && insideText;
    if (!scored && !crossCounts && !(hasLabel && labelCounts)) return;

    const row = this.#row;
    this.#reader.read(observer, performer, hasLabel ? nextToken : -1, row);
    if (this.#round) roundRow(row);
    if (crossCounts) this.#cross.push(row.crossEntropy);
    if (hasLabel && labelCounts) {
      this.#labels.push(-row.logProb);
      this.#aligned.push(row.crossEntropy);
    }
    if (!scored) return;
    const columns = this.#columns;
    columns[0]!.push(row.logProb);
    columns[1]!.push(row.rank);
    columns[2]!.push(row.bestLogProb);
    columns[3]!.push(row.entropy);
    columns[4]!.push(row.variance);
    columns[5]!.push(row.crossEntropy);
    columns[6]!.push(row.crossVariance);
    if (this.#top !== undefined) {
      columns[7]!.push(this.#top.of(performer, row.maximum, row.logNormalizer, this.#temperature));
    }
    const ids = label.sampleIds ?? this.#drawer?.draw(observer ?? performer);
    if (ids !== undefined) this.#sample(ids, performer);
  }

  /** The statistics of everything pushed so far. */
  finish(): TextStatistics {
    const [logProb, rank, bestLogProb, entropy, variance, crossEntropy, crossVariance, topEntropy] =
      this.#columns.map((column) => column.toArray()) as [
        Float64Array,
        Float64Array,
        Float64Array,
        Float64Array,
        Float64Array,
        Float64Array,
        Float64Array,
        Float64Array,
      ];
    return {
      precision: this.#precision,
      temperature: this.#temperature,
      hasObserver: this.#hasObserver ?? false,
      tokens: {
        length: logProb.length,
        logProb,
        rank,
        bestLogProb,
        entropy,
        variance,
        crossEntropy,
        crossVariance,
        topEntropy,
      },
      labelLosses: this.#labels.toArray(),
      crossEntropies: this.#cross.toArray(),
      alignedCrossEntropies: this.#aligned.toArray(),
      sampledLogProbs: transpose(this.#sampled.toArray(), this.#samples),
      samples: this.#samples,
    };
  }

  #sample(ids: Int32Array, performer: Float32Array): void {
    if (this.#samples === 0) this.#samples = ids.length;
    needLength('sampleIds', ids, this.#samples);
    for (let s = 0; s < ids.length; s++) {
      needToken(ids[s]!, this.#vocabulary, this.#position);
      this.#sampled.push(this.#reader.logProbOf(performer, ids[s]!, this.#row));
    }
  }
}

function createReader(precision: ScorePrecision, vocabulary: number, temperature: number): RowReader {
  switch (precision) {
    case 'f64':
      return new ScalarRowReader(temperature);
    case 'bf16':
      return new Bfloat16RowReader(vocabulary, temperature);
    case 'fast':
    case 'f32':
      return new KernelRowReader(temperature);
    default:
      throw new DetectError({
        code: 'detect/bad-config',
        message: `expected fast, f64, f32 or bf16 for precision, got ${String(precision)}`,
        value: precision,
        remedy: 'leave precision out for the fast default',
      });
  }
}

function roundRow(row: RowStatistics): void {
  row.logProb = Math.fround(row.logProb);
  row.bestLogProb = Math.fround(row.bestLogProb);
  row.entropy = Math.fround(row.entropy);
  row.variance = Math.fround(row.variance);
  row.crossEntropy = Math.fround(row.crossEntropy);
  row.crossVariance = Math.fround(row.crossVariance);
}

/** `[tokens, samples]` to `[samples, tokens]`. */
function transpose(values: Float64Array, samples: number): Float64Array {
  const out = new Float64Array(values.length);
  if (samples === 0) return out;
  const tokens = values.length / samples;
  for (let t = 0; t < tokens; t++) {
    for (let s = 0; s < samples; s++) out[s * tokens + t] = values[t * samples + s]!;
  }
  return out;
}

function changedModels(): DetectError {
  return new DetectError({
    code: 'detect/bad-shape',
    message: 'expected an observer at every position or at none',
    remedy: 'push rows of the same models for the whole text',
  });
}
