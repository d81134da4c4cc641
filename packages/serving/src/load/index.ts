export type { LoadOptions, LoadProgress } from './options.js';
export { runLoad } from './run-load.js';
export { scaleTrace } from './scale-trace.js';
export { type SyntheticTraceOptions, syntheticTrace } from './synthetic-trace.js';
export type { LoadTrace, TraceLimits, TraceRequest, TraceScale } from './trace.js';
export { parseTrace } from './trace-readers.js';
