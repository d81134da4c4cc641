export type { LoadOptions, LoadProgress } from './options.js';
export type { LoadTrace, TraceLimits, TraceRequest, TraceScale } from './trace.js';
