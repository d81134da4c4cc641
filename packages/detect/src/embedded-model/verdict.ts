import type { NormalizationFindings } from '../attacks/normalize-text.js';
import type { TextWindow } from './text-windows.js';

/** Why a verdict is what it is, or says nothing. */
export type VerdictReasonCode =
  | 'too-short'
  | 'not-english'
  | 'code'
  | 'out-of-domain'
  | 'inconclusive'
  | 'score'
  | 'tampered-characters'
  | 'sampled';

/** One reason, for programs and for people. */
export interface VerdictReason {
  readonly code: VerdictReasonCode;
  readonly message: string;
}

/** A window's part in a verdict. */
export interface WindowVerdict extends TextWindow {
  readonly score: number;
  readonly probability: number;
}

/** What a detector says about a text. Never proof: a probability with the conditions that it holds under. */
export interface Verdict {
  /** `abstain` where the text is too short, not the kind of text that the model knows, or in between. */
  readonly label: 'human' | 'ai' | 'abstain';
  /** Larger means AI; comparable between texts of one model id. Finite, also where the label is `abstain`. */
  readonly score: number;
  /** Calibrated probability of AI at even prior odds; 1/2 where the model has no say (code, other languages, out of domain). */
  readonly probability: number;
  /** 95 % interval of the probability; [0, 1] where the model has no say. */
  readonly interval: readonly [low: number, high: number];
  readonly reasons: readonly VerdictReason[];
  /** Words (runs without white space) of the whole text. */
  readonly words: number;
  /** The windows that were scored. */
  readonly windows: readonly WindowVerdict[];
  /** Changes to characters that were undone before scoring. */
  readonly findings: NormalizationFindings;
  /** Share of human texts that `ai` may be said of, at most. */
  readonly alpha: number;
  /** Id of the weights; scores of different ids cannot be compared. */
  readonly model: string;
}
