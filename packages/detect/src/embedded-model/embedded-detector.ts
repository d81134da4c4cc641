import { DetectError } from '../errors.js';
import { needInteger } from '../scores/checks.js';
import {
  binFor,
  type ConformalAlpha,
  calibrate,
  type ProseCalibration,
  type UnitLevels,
} from './calibration.js';
import { type PackedModel, unpackModel } from './packed-model.js';
import { plainProse } from './plain-prose.js';
import { type ProseModel, type ProseScore, scoreProse } from './prose-model.js';
import { proseModel } from './prose-weights.js';
import { measureKind, type TextKind } from './text-kind.js';
import { countWords, type TextWindow, textWindows } from './text-windows.js';
import type { Verdict, VerdictReason, WindowVerdict } from './verdict.js';

/** Options of {@link detectText}. */
export interface DetectTextOptions {
  /** Share of human texts that may be called AI, at most: 0.01, 0.05 (default) or 0.1. */
  readonly alpha?: ConformalAlpha;
  /** Shorter texts get `abstain`; default 40, the shortest length that was found usable. */
  readonly minimumWords?: number;
  /** Longer texts are scored in this many windows of about 150 words, evenly spread; default 64. */
  readonly maximumWindows?: number;
}

/** A detector that needs no language model, network or file. */
export interface EmbeddedDetector {
  /** Id of the weights. */
  readonly id: string;
  /** Judges a text. Takes time in proportion to its length at most, whatever it holds. */
  detect(text: string, options?: DetectTextOptions): Verdict;
  /** How scores of short pieces lie, for finding changes of hand. */
  readonly levels: UnitLevels;
  /** Score, calibrated probability and its logit of one piece of text, without the conditions that a verdict checks. */
  scorePiece(piece: string): PieceScore;
}

/** Result of {@link EmbeddedDetector.scorePiece}. */
export interface PieceScore {
  readonly score: number;
  readonly words: number;
  readonly probability: number;
  /** Log-odds of AI; 0 where the piece is not English prose. */
  readonly logOdds: number;
  /** Whether it is the kind of text that the model knows. */
  readonly inDomain: boolean;
  /** Whether it is code or no English prose, which even a short piece shows. */
  readonly isForeign: boolean;
}

/** Shares below which a text is not English. */
const ENGLISH = { latinLetters: 0.8, functionWords: 0.15 } as const;
/** A text is code from here on; prose of the fitting data stays below, code above: see the model card. */
const CODE = 1.5;
/** Longest piece that is read; features are made for about a tenth of it. */
const MAXIMUM_PIECE = 10_000;
/** Between even odds and the threshold nothing is said. */
const HUMAN_BELOW = 0.5;

interface ScoredWindow extends TextWindow, ProseScore {
  readonly kind: TextKind;
}

let shared: EmbeddedDetector | undefined;

/**
 * Judges a text with the embedded detector.
 *
 * @example
 * ```ts
 * import { detectText } from '@moestack/detect';
 *
 * const { label, probability, reasons } = detectText('A few words are not enough.');
 * console.log(label, probability.toFixed(2), reasons[0]?.code);
 * ```
 */
export function detectText(text: string, options: DetectTextOptions = {}): Verdict {
  shared ??= createEmbeddedDetector();
  return shared.detect(text, options);
}

/** Unpacks the embedded detector once, for many texts. `defaults` hold where a call gives no option. */
export function createEmbeddedDetector(defaults: DetectTextOptions = {}): EmbeddedDetector {
  checkOptions(defaults);
  const packed: PackedModel = proseModel;
  const model = unpackModel(packed);
  return {
    id: packed.id,
    levels: packed.calibration.units,
    detect: (text, options = {}) => {
      const merged = { ...defaults, ...options };
      checkOptions(merged);
      checkText(text);
      return judge(text, merged, packed, model);
    },
    scorePiece: (piece) => {
      checkText(piece);
      const words = countWords(piece);
      const window = { start: 0, end: Math.min(piece.length, MAXIMUM_PIECE), words };
      const { scored } = scoreWindow(piece.slice(0, MAXIMUM_PIECE), window, model);
      const { logit, probability } = calibrate(scored.score, words, packed.calibration);
      const reason = domainReason(scored.kind, scored, words, packed.calibration);
      const inDomain = reason === undefined;
      const isForeign = reason !== undefined && reason.code !== 'out-of-domain';
      const common = { score: scored.score, words, inDomain, isForeign };
      return inDomain
        ? { ...common, probability, logOdds: logit }
        : { ...common, probability: 0.5, logOdds: 0 };
    },
  };
}

function judge(text: string, options: DetectTextOptions, packed: PackedModel, model: ProseModel): Verdict {
  const { alpha = 0.05, minimumWords = packed.minimumWords, maximumWindows = 64 } = options;
  const { calibration } = packed;
  const words = countWords(text);
  const findings = { invisible: 0, directional: 0, homoglyphs: 0, spaces: 0, surrogates: 0 };
  const windows = textWindows(text, { maximum: maximumWindows }).map((window) => {
    const result = scoreWindow(text.slice(window.start, window.end), window, model);
    for (const name of Object.keys(findings) as (keyof typeof findings)[])
      findings[name] += result.findings[name];
    return result.scored;
  });
  const mean = (of: (window: ScoredWindow) => number): number =>
    windows.reduce((sum, window) => sum + of(window), 0) / Math.max(1, windows.length);
  const kind: TextKind = {
    latinLetters: mean((window) => window.kind.latinLetters),
    functionWords: mean((window) => window.kind.functionWords),
    symbols: mean((window) => window.kind.symbols),
    statements: mean((window) => window.kind.statements),
  };
  const score = mean((window) => window.score);
  const typical = { score, distance: mean(({ distance }) => distance), unseen: mean(({ unseen }) => unseen) };
  const perWindow = Math.round(words / Math.max(1, Math.round(words / 150)));
  const foreign = windows.length === 0 ? undefined : domainReason(kind, typical, perWindow, calibration);

  const reasons: VerdictReason[] = [];
  if (words < minimumWords)
    reasons.push({
      code: 'too-short',
      message: `${words} words: under ${minimumWords} the model can hardly tell anything`,
    });
  if (foreign !== undefined) reasons.push(foreign);
  const hasSay = foreign === undefined && windows.length > 0;
  const calibrated = calibrate(score, words, calibration);
  const threshold = binFor(calibration.conformal, words).thresholds[`${alpha}`];
  let label: Verdict['label'] = 'abstain';
  if (reasons.length === 0) {
    if (calibrated.logit > threshold) label = 'ai';
    else if (calibrated.probability < HUMAN_BELOW) label = 'human';
    reasons.push(scoreReason(label, alpha));
  }
  const { spaces: _, ...tampering } = findings;
  if (Object.values(tampering).some((count) => count > 0))
    reasons.push({
      code: 'tampered-characters',
      message:
        'look-alike, invisible or broken characters were undone; they may be an attempt to evade detection',
    });
  const pieces = Math.max(1, Math.round(words / 150));
  if (pieces > windows.length && windows.length > 0)
    reasons.push({ code: 'sampled', message: `${windows.length} of ${pieces} windows were scored` });
  return {
    label,
    score,
    probability: hasSay ? calibrated.probability : 0.5,
    interval: hasSay ? calibrated.interval : [0, 1],
    reasons,
    words,
    windows: windows.map((window) => toWindowVerdict(window, calibration, hasSay)),
    findings,
    alpha,
    model: packed.id,
  };
}

function scoreReason(label: Verdict['label'], alpha: number): VerdictReason {
  if (label === 'ai')
    return {
      code: 'score',
      message: `at most ${alpha * 100} % of human texts like those of the calibration score as high`,
    };
  if (label === 'human')
    return { code: 'score', message: 'more like the human texts of the calibration than the AI ones' };
  return {
    code: 'inconclusive',
    message: `leans to AI, but more than ${alpha * 100} % of human texts may score as high`,
  };
}

function scoreWindow(
  piece: string,
  window: TextWindow,
  model: ProseModel,
): { scored: ScoredWindow; findings: Verdict['findings'] } {
  const { text, findings } = plainProse(piece);
  return { scored: { ...window, ...scoreProse(text, model), kind: measureKind(piece, text) }, findings };
}

function toWindowVerdict(
  window: ScoredWindow,
  calibration: ProseCalibration,
  hasSay: boolean,
): WindowVerdict {
  const { start, end, words, score } = window;
  return {
    ...{ start, end, words, score },
    probability: hasSay ? calibrate(score, words, calibration).probability : 0.5,
  };
}

/** Why a text is not one that the model has a say about. */
function domainReason(
  kind: TextKind,
  { distance, unseen }: ProseScore,
  words: number,
  calibration: ProseCalibration,
): VerdictReason | undefined {
  if (30 * kind.symbols + 3 * kind.statements >= CODE)
    return {
      code: 'code',
      message:
        'this is code: what tells human from AI prose says nothing about code by other authors and models',
    };
  if (kind.latinLetters < ENGLISH.latinLetters || kind.functionWords < ENGLISH.functionWords)
    return {
      code: 'not-english',
      message: 'this is not running English text, which is all that the model knows',
    };
  const bin = binFor(calibration.domain, words);
  if (distance > bin.distance || unseen > bin.unseen)
    return {
      code: 'out-of-domain',
      message: 'this is unlike every kind of text that the model was fitted on',
    };
  return undefined;
}

function checkText(text: unknown): void {
  if (typeof text === 'string') return;
  throw new DetectError({
    code: 'detect/bad-config',
    message: `expected a string for text, got ${typeof text}`,
    value: typeof text,
    remedy: 'decode bytes first, for example with TextDecoder',
  });
}

function checkOptions({ alpha = 0.05, minimumWords = 0, maximumWindows = 1 }: DetectTextOptions): void {
  needInteger('minimumWords', minimumWords, 0, 2 ** 31 - 1);
  needInteger('maximumWindows', maximumWindows, 1, 100_000);
  if (alpha === 0.01 || alpha === 0.05 || alpha === 0.1) return;
  throw new DetectError({
    code: 'detect/bad-config',
    message: `expected 0.01, 0.05 or 0.1 for alpha, got ${String(alpha)}`,
    value: String(alpha),
    remedy: 'use one of these; the calibration data support no other rates',
  });
}
