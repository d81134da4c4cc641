import { z } from 'zod';

const count = z.int().min(0);

/** Token messages and bytes over one link class. */
export const LinkTraffic = z.strictObject({
  tokens: count.describe('token messages: one token on its way to one rank or node'),
  bytes: count,
  transfers: count.describe('transfers of the transport, each of many tokens'),
});
export type LinkTraffic = z.infer<typeof LinkTraffic>;

/** Traffic of one rank in one direction: inside the rank, inside its node, between nodes. */
export const TrafficByLink = z.strictObject({ self: LinkTraffic, intra: LinkTraffic, inter: LinkTraffic });
export type TrafficByLink = z.infer<typeof TrafficByLink>;

/** One phase of an exchange (dispatch or combine) as every rank counted it. */
export const PhaseTraffic = z.strictObject({
  messageBytes: z.int().positive().describe('bytes of one token message'),
  ranks: z
    .array(z.strictObject({ sent: TrafficByLink, received: TrafficByLink }))
    .min(1)
    .max(65_536),
  total: TrafficByLink.describe('sum of what all ranks sent'),
});
export type PhaseTraffic = z.infer<typeof PhaseTraffic>;

/** What an expert-parallel exchange moved, counted by the transports as messages moved. */
export const TrafficReport = z.strictObject({
  schemaVersion: z.literal(1),
  kind: z.literal('moestack.traffic-report'),
  mode: z.enum(['direct', 'hierarchical', 'low-latency']),
  topology: z.strictObject({ nodes: z.int().positive(), ranksPerNode: z.int().positive() }),
  experts: z.int().positive().describe('physical experts over all ranks'),
  topK: z.int().positive(),
  hidden: z.int().positive(),
  payload: z.enum(['f32', 'bf16', 'fp8']),
  combinePayload: z.enum(['f32', 'bf16']),
  dispatch: PhaseTraffic,
  combine: PhaseTraffic,
  controlBytes: count.describe('counts that preceded dispatches, over all ranks'),
});
export type TrafficReport = z.infer<typeof TrafficReport>;
