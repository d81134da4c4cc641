import { normalSurvival } from '../../evaluation/special-functions.js';
import { needBetween, needInteger, needToken, tooShort } from '../checks.js';
import { MersenneTwister, randomPermutation } from './mersenne-twister.js';
import { resolveScheme, seedOf, type WatermarkScheme, type WatermarkSchemeName } from './seeding.js';

/** Options of {@link detectWatermark}. */
export interface WatermarkOptions {
  /** Vocabulary size that the generator used (of the model, not the tokenizer). */
  readonly vocabulary: number;
  /** Share of green tokens. Default 0.25. */
  readonly gamma?: number;
  /** Default `simple_1`. */
  readonly scheme?: WatermarkSchemeName | WatermarkScheme;
  /** Count each distinct n-gram of context and token once, as the reference does by default. Default true. */
  readonly uniqueNgrams?: boolean;
}

/** Result of {@link detectWatermark}. */
export interface WatermarkScore {
  /** Tokens (or distinct n-grams) that were scored. */
  readonly scored: number;
  readonly green: number;
  /** (green - gamma scored) / sqrt(scored gamma (1 - gamma)). High means watermarked; the paper flags z > 4. */
  readonly z: number;
  /** One-sided p-value of z. */
  readonly p: number;
  /** 1 for each scored token of the text that is green, repeated n-grams included. */
  readonly greenMask: Uint8Array;
  /**
   * The window of the scored sequence with the largest z, `[start, end)`. Its z is a maximum over many windows: compare it with
   * windows of unmarked texts, not with a normal distribution.
   */
  readonly window: { readonly z: number; readonly start: number; readonly end: number };
}

/**
 * The KGW watermark test (Kirchenbauer et al. 2023, arXiv 2301.10226), for texts generated with torch's CPU generator (MT19937).
 * A GPU generator makes other green lists: such texts need the same GPU generator to test.
 *
 * @param ids - token ids, without a begin-of-sequence token
 *
 * @example
 * ```ts
 * import { detectWatermark } from '@moestack/detect';
 *
 * const { z, p } = detectWatermark(Int32Array.of(60, 47, 50, 83, 3, 60), { vocabulary: 97, gamma: 0.5 });
 * console.log(z, p);
 * ```
 */
export function detectWatermark(ids: Int32Array, options: WatermarkOptions): WatermarkScore {
  const { vocabulary, gamma = 0.25, uniqueNgrams = true } = options;
  const scheme = resolveScheme(options.scheme ?? 'simple_1');
  needInteger('vocabulary', vocabulary, 2, 1 << 26);
  needBetween('gamma', gamma, 0, 1);
  ids.forEach((id, position) => {
    needToken(id, vocabulary, position);
  });
  const { contextWidth, selfSalt } = scheme;
  const span = contextWidth + (selfSalt ? 0 : 1);
  const scored = ids.length - span + 1;
  if (scored < 1) throw tooShort('the watermark test', 1, Math.max(scored, 0));

  const lists = new GreenLists(scheme, vocabulary, gamma);
  const seen = new Set<string>();
  const mask = new Uint8Array(scored);
  const counted: number[] = [];
  for (let i = 0; i < scored; i++) {
    const ngram = ids.subarray(i, i + span);
    mask[i] = lists.isGreen(ngram.subarray(0, contextWidth), ngram[span - 1]!) ? 1 : 0;
    const key = uniqueNgrams ? ngram.join(' ') : '';
    if (uniqueNgrams && seen.has(key)) continue;
    seen.add(key);
    counted.push(mask[i]!);
  }
  const green = counted.reduce((sum, bit) => sum + bit, 0);
  const z = zScore(green, counted.length, gamma);
  return {
    scored: counted.length,
    green,
    z,
    p: normalSurvival(z),
    greenMask: mask,
    window: bestWindow(counted, gamma),
  };
}

/** The green token ids for a context, ascending. */
export function greenList(context: Int32Array, options: WatermarkOptions): Int32Array {
  const scheme = resolveScheme(options.scheme ?? 'simple_1');
  needInteger('vocabulary', options.vocabulary, 2, 1 << 26);
  const lists = new GreenLists(scheme, options.vocabulary, options.gamma ?? 0.25);
  return lists.of(context).slice().sort();
}

/** The first entries of `torch.randperm(length)` after `manual_seed(seed)` on a CPU (`seed` modulo 2^32 counts). */
export function torchRandomPermutation(seed: number, length: number, count: number = length): Int32Array {
  needInteger('length', length, 1, 1 << 26);
  needInteger('count', count, 0, length);
  const generator = new MersenneTwister();
  generator.seed(seed % 2 ** 32);
  return randomPermutation(generator, length, count);
}

/** Green lists by seed, those of the last contexts kept. */
class GreenLists {
  static readonly #KEPT = 256;
  readonly #scheme: WatermarkScheme;
  readonly #vocabulary: number;
  readonly #size: number;
  readonly #generator: MersenneTwister = new MersenneTwister();
  readonly #masks: Map<number, Uint8Array> = new Map();

  constructor(scheme: WatermarkScheme, vocabulary: number, gamma: number) {
    this.#scheme = scheme;
    this.#vocabulary = vocabulary;
    this.#size = Math.floor(vocabulary * gamma);
  }

  of(context: Int32Array): Int32Array {
    this.#generator.seed(seedOf(this.#scheme, context));
    return randomPermutation(this.#generator, this.#vocabulary, this.#size);
  }

  isGreen(context: Int32Array, token: number): boolean {
    const seed = seedOf(this.#scheme, context);
    let mask = this.#masks.get(seed);
    if (mask === undefined) {
      mask = new Uint8Array(this.#vocabulary);
      for (const id of this.of(context)) mask[id] = 1;
      if (this.#masks.size >= GreenLists.#KEPT) this.#masks.delete(this.#masks.keys().next().value!);
      this.#masks.set(seed, mask);
    }
    return mask[token] === 1;
  }
}

function zScore(green: number, scored: number, gamma: number): number {
  return (green - gamma * scored) / Math.sqrt(scored * gamma * (1 - gamma));
}

/** Windows up to this size are all looked at; larger sizes grow by a twentieth, so that long texts stay affordable. */
const DENSE_SIZES = 1024;

/** Largest z over the windows; the first of the shortest on ties. */
function bestWindow(bits: readonly number[], gamma: number): { z: number; start: number; end: number } {
  const sums = new Float64Array(bits.length + 1);
  bits.forEach((bit, i) => {
    sums[i + 1] = sums[i]! + bit;
  });
  let best = { z: -Infinity, start: 0, end: bits.length };
  for (let size = 1; size <= bits.length; size = nextSize(size, bits.length)) {
    let most = -1;
    let at = 0;
    for (let start = 0; start + size <= bits.length; start++) {
      const green = sums[start + size]! - sums[start]!;
      if (green > most) {
        most = green;
        at = start;
      }
    }
    const z = zScore(most, size, gamma);
    if (z > best.z) best = { z, start: at, end: at + size };
  }
  return best;
}

function nextSize(size: number, most: number): number {
  if (size < DENSE_SIZES || size === most) return size + 1;
  return Math.min(Math.ceil(size * 1.05), most);
}
