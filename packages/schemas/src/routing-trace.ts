import { z } from 'zod';
import { Float32Base64, Int32Base64 } from './typed-arrays.js';

/** Most records of one {@link RoutingTrace}. */
export const MAX_TRACE_RECORDS = 1_000_000;

/** Decisions of one layer in one step: small arrays inline, big ones in the sidecar as `STEP.LAYER.indices` and `STEP.LAYER.weights`. */
export const RoutingTraceRecord = z.strictObject({
  step: z.int().min(0).describe('forward pass, counted from any start'),
  layer: z.int().min(0).max(65_535).describe('MoE layer of the model'),
  tokens: z
    .int()
    .min(0)
    .max(2 ** 24)
    .describe('T'),
  indices: Int32Base64.optional().describe('chosen logical experts [T, K], -1 = none'),
  weights: Float32Base64.optional().describe('their weights [T, K]'),
});
export type RoutingTraceRecord = z.infer<typeof RoutingTraceRecord>;

/** Captured routing: logical expert ids per step and layer, before any placement, with weights where they were kept. */
export const RoutingTrace = z.strictObject({
  schemaVersion: z.literal(1),
  kind: z.literal('moestack.routing-trace'),
  model: z.string().max(256).optional().describe('name of the model that was traced'),
  experts: z.int().min(1).max(65_536).describe('routed experts, E'),
  topK: z.int().min(1).max(1024).describe('experts per token, K'),
  dropped: z.int().min(0).describe('older records that the recorder let go'),
  sidecar: z
    .strictObject({
      file: z.string().min(1).max(255),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
    })
    .optional()
    .describe('safetensors file beside this one that holds the arrays'),
  records: z.array(RoutingTraceRecord).max(MAX_TRACE_RECORDS),
});
export type RoutingTrace = z.infer<typeof RoutingTrace>;
