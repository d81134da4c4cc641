export { type EnginePath, readEnginePaths, readStatisticsFolder } from './engine-paths.js';
export { type RecordedSglang, type RecordSglangOptions, recordSglang } from './record-sglang.js';
