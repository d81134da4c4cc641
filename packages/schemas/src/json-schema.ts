import { z } from 'zod';
import { BenchmarkRecord } from './benchmark-record.js';
import { BenchmarkReport } from './benchmark-report.js';
import { CheckpointInspection } from './checkpoint-inspection.js';
import { GenerationConfig } from './generation-config.js';
import { LoadReport } from './load-report.js';
import { ExpertLoad, MigrationPlan, Placement } from './placement.js';
import { RoutingTrace } from './routing-trace.js';
import { TrafficReport } from './traffic-report.js';
import { TrainCheckpoint, TrainConfig, TrainEvent } from './training.js';
import { CorpusConfig, CorpusManifest } from './training-corpus.js';
import { TokenUsage } from './usage.js';

/** Every schema that is written to or read from files, by name. */
export const persistedSchemas = {
  BenchmarkRecord,
  BenchmarkReport,
  CheckpointInspection,
  CorpusConfig,
  CorpusManifest,
  ExpertLoad,
  GenerationConfig,
  LoadReport,
  MigrationPlan,
  Placement,
  RoutingTrace,
  TokenUsage,
  TrafficReport,
  TrainCheckpoint,
  TrainConfig,
  TrainEvent,
} as const;

/** A JSON Schema document (draft 2020-12) as plain data. */
export type JsonSchema = Record<string, unknown>;

/**
 * JSON Schema of what a caller may pass to `schema` (its input side: codecs have no output schema).
 *
 * @example
 * ```ts
 * import { toJsonSchema, GenerationConfig } from '@moestack/schemas';
 *
 * console.log(JSON.stringify(toJsonSchema(GenerationConfig)));
 * ```
 */
export function toJsonSchema(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
}
