export {
  detectSpans,
  type SpanOptions,
  type SpanReport,
  type SpanUnit,
  type TextSpan,
} from './detect-spans.js';
export { type Segment, segmentEvidence } from './segment.js';
