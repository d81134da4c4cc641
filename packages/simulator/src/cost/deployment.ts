import { z } from 'zod';
import { Accelerator } from '../hardware/accelerator.js';
import { ModelShape } from '../model/model-shape.js';

const size = z
  .int()
  .min(1)
  .max(1 << 20);
const fraction = z.number().min(0).max(1);

/** Number formats of weights, attention cache and exchanged activations. */
export const Precision = z.strictObject({
  weights: z.enum(['bf16', 'fp8', 'fp4']).describe('expert weights; fp4 needs such tensor cores'),
  attention: z.enum(['bf16', 'fp8']).describe('KV cache and core attention'),
  dispatch: z.enum(['bf16', 'fp8', 'fp4']).describe('payload of dispatch; combine is BF16'),
});
export type Precision = z.infer<typeof Precision>;

/** Two micro-batches, one computing while the other communicates. */
export const Overlap = z.strictObject({
  enabled: z.boolean(),
  communicationSms: z
    .int()
    .min(0)
    .max(4096)
    .describe('SMs that only communicate; 0: transfers run without SMs, as low-latency RDMA does'),
});
export type Overlap = z.infer<typeof Overlap>;

/**
 * GPUs that run one phase: `units` identical engines, each `tp` x `dp` GPUs. The experts of a layer are spread over `ep` GPUs of a unit;
 * tp * dp / ep copies of them split each expert's width (MoE tensor parallelism).
 */
export const Pool = z
  .strictObject({
    units: size.describe('identical engines'),
    gpusPerNode: z.int().min(1).max(4096),
    tp: z.int().min(1).max(1024).describe('tensor parallelism of attention'),
    dp: z.int().min(1).max(65_536).describe('data-parallel attention ranks of a unit'),
    ep: z.int().min(1).max(65_536).describe('expert parallelism of a unit'),
    redundantExperts: z.int().min(0).max(65_536).describe('expert copies of a layer beyond one of each'),
    maxTokensPerRank: size.describe('most new tokens of a data-parallel rank in one step'),
    maxSequencesPerRank: size.describe('most running requests of a data-parallel rank'),
    kvTokensPerRank: z
      .int()
      .min(1)
      .max(1 << 30)
      .optional()
      .describe('tokens of KV cache of a data-parallel rank; default: what the memory leaves'),
    overlap: Overlap,
  })
  .refine(({ tp, dp, ep }) => (tp * dp) % ep === 0, 'expected tp x dp to be a multiple of ep');
export type Pool = z.infer<typeof Pool>;

/** Multi-token prediction used for speculative decoding. */
export const Mtp = z.strictObject({
  enabled: z.boolean(),
  draftTokens: z.int().min(1).max(16).describe('tokens proposed in a step'),
  acceptance: fraction.describe('probability that a proposed token is accepted, given the ones before'),
});
export type Mtp = z.infer<typeof Mtp>;

/** Where expert loads of the busiest GPU come from. */
export const ExpertSkew = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('balanced') }),
  z.strictObject({
    kind: z.literal('powerLaw'),
    alpha: z.number().min(0).max(4).describe('exponent of the distribution of expert popularity'),
  }),
  z.strictObject({
    kind: z.literal('measured'),
    imbalance: z.number().min(1).max(1e4).describe('load of the busiest GPU over the mean load'),
  }),
]);
export type ExpertSkew = z.infer<typeof ExpertSkew>;

/** A whole cluster for one model: a prefill and a decode pool, or one pool that does both. */
export const Deployment = z.strictObject({
  schemaVersion: z.literal(1),
  prefill: Pool.nullable().describe('null: the decode pool prefills too'),
  decode: Pool,
  precision: Precision,
  mtp: Mtp,
  skew: ExpertSkew,
  blockSizeTokens: z.int().min(1).max(4096).describe('tokens of a KV block'),
  plannedFor: z
    .strictObject({ accelerator: Accelerator, model: ModelShape })
    .optional()
    .describe('hardware and model that it was planned for; what runs it says itself what it has'),
});
export type Deployment = z.infer<typeof Deployment>;

/** GPUs of one engine of a pool. */
export function gpusPerUnit(pool: Pool): number {
  return pool.tp * pool.dp;
}

/** GPUs of a pool. */
export function gpusOfPool(pool: Pool): number {
  return pool.units * gpusPerUnit(pool);
}

/** GPUs of a deployment. */
export function gpusOfDeployment(deployment: Deployment): number {
  return gpusOfPool(deployment.decode) + (deployment.prefill === null ? 0 : gpusOfPool(deployment.prefill));
}

/** A distribution of token counts. */
export const Lengths = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('fixed'), tokens: size }),
  z
    .strictObject({ kind: z.literal('uniform'), minimum: size, maximum: size })
    .refine(({ minimum, maximum }) => minimum <= maximum, 'expected minimum to be at most maximum'),
  z.strictObject({
    kind: z.literal('logNormal'),
    mean: z
      .number()
      .min(1)
      .max(1 << 20),
    deviation: z.number().min(0).max(1e6).describe('standard deviation over the mean'),
    maximum: size,
  }),
  z.strictObject({ kind: z.literal('empirical'), tokens: z.array(size).min(1).max(1_000_000) }),
]);
export type Lengths = z.infer<typeof Lengths>;

/** When requests come. */
export const Arrivals = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('poisson') }),
  z.strictObject({
    kind: z.literal('gamma'),
    deviation: z.number().min(1e-3).max(100).describe('coefficient of variation of the gaps; 1 is Poisson'),
  }),
  z.strictObject({
    kind: z.literal('bursts'),
    factor: z.number().min(1).max(1000).describe('rate in a burst over the mean rate'),
    burstSeconds: z.number().min(1e-6).max(1e6),
  }),
  z.strictObject({
    kind: z.literal('closed'),
    concurrency: size.describe('users that send as soon as answered'),
  }),
]);
export type Arrivals = z.infer<typeof Arrivals>;

/** Traffic to serve. */
export const Workload = z.strictObject({
  requestsPerSecond: z.number().min(1e-9).max(1e7).describe('mean rate; unused by closed arrivals'),
  inputTokens: Lengths,
  outputTokens: Lengths,
  cachedFraction: fraction.describe('share of input tokens whose KV is found in a prefix cache'),
  arrivals: Arrivals,
});
export type Workload = z.infer<typeof Workload>;

/** What must hold for `quantile` of the requests. */
export const Slo = z.strictObject({
  ttftSeconds: z.number().positive().max(1e6).describe('time to first token, queueing included'),
  tpotSeconds: z.number().positive().max(1e6).describe('mean time between later tokens of a request'),
  quantile: z.number().gt(0).lt(1).default(0.9),
});
export type Slo = z.infer<typeof Slo>;
