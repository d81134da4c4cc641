export type { ConformalAlpha, UnitLevels } from './calibration.js';
export {
  createEmbeddedDetector,
  type DetectTextOptions,
  detectText,
  type EmbeddedDetector,
  type PieceScore,
} from './embedded-detector.js';
export { countWords, type TextWindow, textWindows, type WindowOptions } from './text-windows.js';
export type { Verdict, VerdictReason, VerdictReasonCode, WindowVerdict } from './verdict.js';
