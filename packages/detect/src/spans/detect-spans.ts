import type { UnitLevels } from '../embedded-model/calibration.js';
import { createEmbeddedDetector, type EmbeddedDetector } from '../embedded-model/embedded-detector.js';
import type { TextWindow } from '../embedded-model/text-windows.js';
import type { Verdict } from '../embedded-model/verdict.js';
import { needBetween } from '../scores/checks.js';
import { segmentEvidence } from './segment.js';
import { textUnits } from './text-units.js';

/** Options of {@link detectSpans}. */
export interface SpanOptions {
  /** Default: one shared embedded detector. */
  readonly detector?: EmbeddedDetector;
  /** Evidence in nats that a change of hand must overcome; default 1 + ln(units). */
  readonly penalty?: number;
  /** Share of human texts that may be called AI; default 0.01, since spans are chosen by what they score. */
  readonly alpha?: 0.01 | 0.05 | 0.1;
}

/** A part of a text that seems to be by one hand. */
export interface TextSpan extends TextWindow {
  /** Which side the change-point analysis puts it on; `other` is code or no English prose. */
  readonly side: 'human' | 'ai' | 'other';
  /** What the detector says about the span by itself; its label may be `abstain`. */
  readonly verdict: Verdict;
}

/** A piece of some sentences or lines. */
export interface SpanUnit extends TextWindow {
  readonly score: number;
  /** False for code and other languages: such units are not scored. */
  readonly isProse: boolean;
}

/** Result of {@link detectSpans}. */
export interface SpanReport {
  /** In order; they cover the text but for white space between them. */
  readonly spans: readonly TextSpan[];
  /** Whether spans of both sides were found. */
  readonly isMixed: boolean;
  /** The pieces between which changes were looked for, with their scores. */
  readonly units: readonly SpanUnit[];
  /** About the whole text. */
  readonly overall: Verdict;
}

/** Longer documents have longer units, of which the beginning is scored: time grows little, and the borders get coarser. */
const MAXIMUM_UNITS = 600;
const MAXIMUM_UNIT_CHARACTERS = 2_500;

let shared: EmbeddedDetector | undefined;

/** Offsets that are tried, in standard deviations of texts around their side's mean. */
const OFFSETS: readonly number[] = Array.from({ length: 25 }, (_, i) => (i - 12) / 4);

/**
 * Finds which parts of a document are by a person and which by a model.
 *
 * The document is cut into units of whole sentences. Their scores are taken as two levels with noise, and an offset of the document
 * that subject and author give; the change points are the exact maximum of the penalised likelihood for every offset of a grid.
 * Offsets in the result are those of the text as given.
 */
export function detectSpans(text: string, options: SpanOptions = {}): SpanReport {
  const { alpha = 0.01 } = options;
  if (options.penalty !== undefined) needBetween('penalty', options.penalty, -Number.MIN_VALUE, 1e9);
  shared ??= createEmbeddedDetector();
  const detector = options.detector ?? shared;
  const overall = detector.detect(text, { alpha });
  const { levels } = detector;
  const unitWords = Math.max(levels.words, Math.ceil(overall.words / MAXIMUM_UNITS));
  const longest = Math.max(4_000, Math.ceil(text.length / MAXIMUM_UNITS));
  const units = textUnits(text, unitWords, longest).map((unit): SpanUnit => {
    const end = Math.min(unit.end, unit.start + MAXIMUM_UNIT_CHARACTERS);
    const { score, isForeign } = detector.scorePiece(text.slice(unit.start, end));
    return { ...unit, score, isProse: !isForeign };
  });
  const penalty = options.penalty ?? 1 + Math.log(Math.max(1, units.length));
  const sides = sidesOf(units, levels, penalty);
  const spans: TextSpan[] = [];
  for (let from = 0; from < units.length; ) {
    let to = from + 1;
    while (to < units.length && sides[to] === sides[from]) to++;
    const { start } = units[from]!;
    const { end } = units[to - 1]!;
    const piece = text.slice(start, end);
    const verdict = detector.detect(piece, { alpha });
    spans.push({ start, end, words: verdict.words, side: sides[from]!, verdict });
    from = to;
  }
  const found = new Set(sides);
  return { spans, isMixed: found.has('ai') && found.has('human'), units, overall };
}

/** The most likely side of every unit; prose goes on across code between it. */
function sidesOf(units: readonly SpanUnit[], levels: UnitLevels, penalty: number): TextSpan['side'][] {
  const prose = units.filter(({ isProse }) => isProse);
  let best = -Infinity;
  let chosen: boolean[] = [];
  for (const offset of OFFSETS) {
    const evidence = new Float64Array(prose.length);
    let likelihood = -(offset * offset) / 2;
    prose.forEach(({ score, words }, i) => {
      // Noise falls with the length of a unit.
      const variance = levels.within ** 2 * Math.min(4, levels.words / Math.max(1, words));
      const shift = offset * levels.between;
      const human = (score - levels.human - shift) ** 2 / (2 * variance);
      const ai = (score - levels.ai - shift) ** 2 / (2 * variance);
      evidence[i] = human - ai;
      likelihood -= (human + ai) / 2;
    });
    const segments = segmentEvidence(evidence, penalty);
    const isAi = segments.flatMap((segment) =>
      Array<boolean>(segment.end - segment.start).fill(segment.isAi),
    );
    isAi.forEach((side, i) => {
      likelihood += (side ? evidence[i]! : -evidence[i]!) / 2;
    });
    likelihood -= penalty * Math.max(0, segments.length - 1);
    if (likelihood > best) {
      best = likelihood;
      chosen = isAi;
    }
  }
  let next = 0;
  return units.map(({ isProse }) => (isProse ? (chosen[next++] ? 'ai' : 'human') : 'other'));
}
