import { defined, mean, standardDeviation } from './aggregates.js';
import { needInteger, tooShort } from './checks.js';

/** Rewrites a text slightly, keeping its meaning: T5 filling masked spans in DetectGPT and NPR. */
export interface Perturber {
  /** `count` rewritten versions of `text`. */
  perturb(text: string, options: { count: number; signal?: AbortSignal }): Promise<string[]>;
}

/** Continues a truncated text: the suspected generator in DNA-GPT. */
export interface Regenerator {
  /** `count` texts that start with `prefix`. */
  regenerate(prefix: string, options: { count: number; signal?: AbortSignal }): Promise<string[]>;
}

/** Scores a text by a language model; {@link logLikelihood} and {@link logRank} are what the detectors below take. */
export type TextScore = (text: string, options: { signal?: AbortSignal }) => Promise<number>;

/** Result of {@link detectGptFrom}. */
export interface DetectGptScore {
  /** logLikelihood - mean of the perturbed ones. High means AI. */
  readonly d: number;
  /** d over the standard deviation (ddof 0) of the perturbed ones; over 1 where it is 0 or there is only one. */
  readonly z: number;
}

/** DetectGPT (Mitchell et al. 2023, arXiv 2301.11305) from log-likelihoods. */
export function detectGptFrom(likelihood: number, perturbed: readonly number[]): DetectGptScore {
  if (perturbed.length === 0) throw tooShort('DetectGPT: perturbed texts', 1, 0);
  const d = likelihood - mean(perturbed);
  const spread = perturbed.length === 1 ? 0 : standardDeviation(perturbed, 0);
  return { d: defined('DetectGPT', d), z: defined('DetectGPT', d / (spread === 0 ? 1 : spread)) };
}

/** NPR (Su et al. 2023): mean log-rank of the perturbed texts over the text's own. High means AI. */
export function nprFrom(ownLogRank: number, perturbed: readonly number[]): number {
  if (perturbed.length === 0) throw tooShort('NPR: perturbed texts', 1, 0);
  const perturbedMean = mean(perturbed);
  // Every token has rank 1, before and after: perturbing changed nothing.
  if (ownLogRank === 0 && perturbedMean === 0) return 1;
  return defined('NPR', perturbedMean / ownLogRank);
}

/** DNA-GPT's WScore (Yang et al. 2023, arXiv 2305.17359): logLikelihood - mean of the regenerated texts'. High means AI. */
export function dnaGptFrom(likelihood: number, regenerated: readonly number[]): number {
  if (regenerated.length === 0) throw tooShort('DNA-GPT: regenerated texts', 1, 0);
  return defined('DNA-GPT', likelihood - mean(regenerated));
}

/** Options of {@link detectGpt}, {@link npr} and {@link dnaGpt}. */
export interface PerturbationOptions {
  /** Versions to score. Default 100 perturbations (the papers' number), 10 regenerations. */
  readonly count?: number;
  readonly signal?: AbortSignal;
}

/** DetectGPT with a perturber; `likelihood` gives {@link logLikelihood} of a text. */
export async function detectGpt(
  text: string,
  tools: { likelihood: TextScore; perturber: Perturber },
  options: PerturbationOptions = {},
): Promise<DetectGptScore> {
  const versions = await perturbed(text, tools.perturber, options);
  return detectGptFrom(
    await tools.likelihood(text, options),
    await scoreAll(versions, tools.likelihood, options),
  );
}

/** NPR with a perturber; `logRank` gives {@link logRank} of a text. */
export async function npr(
  text: string,
  tools: { logRank: TextScore; perturber: Perturber },
  options: PerturbationOptions = {},
): Promise<number> {
  const versions = await perturbed(text, tools.perturber, options);
  return nprFrom(await tools.logRank(text, options), await scoreAll(versions, tools.logRank, options));
}

/** DNA-GPT: keeps the first half of the words, regenerates the rest, compares log-likelihoods. */
export async function dnaGpt(
  text: string,
  tools: { likelihood: TextScore; regenerator: Regenerator },
  options: PerturbationOptions = {},
): Promise<number> {
  const count = options.count ?? 10;
  needInteger('count', count, 1, 10_000);
  const words = text.split(' ');
  if (words.length < 2) throw tooShort('DNA-GPT: words', 2, words.length);
  const prefix = words.slice(0, Math.floor(words.length / 2)).join(' ');
  const versions = await tools.regenerator.regenerate(prefix, { ...options, count });
  return dnaGptFrom(
    await tools.likelihood(text, options),
    await scoreAll(versions, tools.likelihood, options),
  );
}

/** Options of {@link maskSpans}. */
export interface MaskSpansOptions {
  /** Uniform numbers in [0, 1). */
  readonly random: () => number;
  /** Words per span. Default 2. */
  readonly spanWords?: number;
  /** Share of the words to mask. Default 0.3. */
  readonly share?: number;
  /** Words that stay between spans. Default 1. */
  readonly buffer?: number;
}

/**
 * DetectGPT's masking for a T5-style filler: spans of words become `<extra_id_0>`, `<extra_id_1>` ... in text order.
 *
 * @returns the masked text and the number of spans
 */
export function maskSpans(text: string, options: MaskSpansOptions): { text: string; spans: number } {
  const { random, spanWords = 2, share = 0.3, buffer = 1 } = options;
  needInteger('spanWords', spanWords, 1, 1000);
  needInteger('buffer', buffer, 0, 1000);
  const words = text.split(' ');
  const masked = new Uint8Array(words.length);
  const wanted = Math.floor((share * words.length) / (spanWords + 2 * buffer));
  let spans = 0;
  // A crowded text may leave no room: the number of attempts is bounded.
  for (let attempts = 0; spans < wanted && attempts < 100 * wanted; attempts++) {
    const start = Math.floor(random() * (words.length - spanWords));
    if (start < 0) break;
    const from = Math.max(start - buffer, 0);
    if (masked.subarray(from, start + spanWords + buffer).includes(1)) continue;
    masked.fill(1, start, start + spanWords);
    spans++;
  }
  const out: string[] = [];
  let id = 0;
  for (let w = 0; w < words.length; w++) {
    if (masked[w] === 0) out.push(words[w]!);
    else {
      out.push(`<extra_id_${id++}>`);
      w += spanWords - 1;
    }
  }
  return { text: out.join(' '), spans };
}

/** Puts fills back where {@link maskSpans} took spans out; a missing fill leaves nothing. */
export function fillSpans(masked: string, fills: readonly string[]): string {
  return masked.replace(/<extra_id_(\d+)>/g, (_, id: string) => fills[Number(id)] ?? '');
}

async function perturbed(
  text: string,
  perturber: Perturber,
  options: PerturbationOptions,
): Promise<string[]> {
  const count = options.count ?? 100;
  needInteger('count', count, 1, 10_000);
  return await perturber.perturb(text, { ...options, count });
}

async function scoreAll(
  texts: readonly string[],
  score: TextScore,
  options: PerturbationOptions,
): Promise<number[]> {
  const scores: number[] = [];
  for (const text of texts) {
    options.signal?.throwIfAborted();
    scores.push(await score(text, options));
  }
  return scores;
}
