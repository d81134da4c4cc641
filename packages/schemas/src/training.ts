import { z } from 'zod';

const count = (maximum: number) => z.int().min(1).max(maximum);

/** Sizes of a DeepSeek-V3 style language model to train. */
export const TrainModel = z.strictObject({
  vocabularySize: count(1 << 20),
  hiddenSize: count(1 << 14),
  layers: count(256),
  denseLayers: z
    .int()
    .min(0)
    .max(256)
    .default(1)
    .describe('first layers with a dense MLP instead of experts'),
  heads: count(512),
  queryRank: z
    .int()
    .min(0)
    .max(1 << 14)
    .default(0)
    .describe('q_lora_rank; 0: queries straight from hidden'),
  keyValueRank: count(1 << 14),
  nopeDims: count(1024),
  ropeDims: count(1024).multipleOf(2),
  valueDims: count(1024),
  denseWidth: count(1 << 16),
  experts: count(4096),
  topK: count(256),
  groups: count(4096).default(1),
  topKGroups: count(4096).default(1),
  expertWidth: count(1 << 16),
  sharedExperts: z.int().min(0).max(64).default(1),
  routedScalingFactor: z.number().positive().default(1),
  ropeTheta: z.number().positive().default(10_000),
  epsilon: z.number().positive().default(1e-6),
});
export type TrainModel = z.infer<typeof TrainModel>;

/** Numerics of the linear layers; embedding, head, gate, norms and attention stay in float32. */
export const TrainRecipe = z.strictObject({
  name: z.enum(['f32', 'bf16', 'deepseek-v3', 'hybrid', 'current', 'mxfp8']),
  accumulate: z.enum(['f32', 'hopper', 'ada', 'blackwell']).default('f32'),
  promoteEvery: z
    .int()
    .min(1)
    .optional()
    .describe('default: of the recipe, 128; more than any size: never promoted'),
  gradientBlocks: z
    .boolean()
    .default(false)
    .describe('activation gradients in 128x128 blocks instead of tiles (deepseek-v3, hybrid)'),
});
export type TrainRecipe = z.infer<typeof TrainRecipe>;

/** AdamW with decoupled weight decay on matrices and clipping by the global norm. */
export const TrainOptimizer = z.strictObject({
  learningRate: z.number().positive().default(2e-3),
  beta1: z.number().min(0).lt(1).default(0.9),
  beta2: z.number().min(0).lt(1).default(0.95),
  epsilon: z.number().positive().default(1e-8),
  weightDecay: z.number().min(0).default(0.1),
  clipNorm: z.number().positive().default(1),
});
export type TrainOptimizer = z.infer<typeof TrainOptimizer>;

/** Learning rate over steps: linear warmup, then constant or cosine down to `finalFraction`. */
export const TrainSchedule = z.strictObject({
  type: z.enum(['constant', 'cosine']).default('cosine'),
  warmupSteps: z.int().min(0).default(20),
  finalFraction: z.number().min(0).max(1).default(0.1),
});
export type TrainSchedule = z.infer<typeof TrainSchedule>;

/** Balance of the experts: the selection bias moves by gamma, `finalGamma` from `decayAt` and 0 from `freezeAt` (fractions of the run). */
export const TrainBalance = z.strictObject({
  gamma: z.number().min(0).default(0.01),
  finalGamma: z.number().min(0).default(0.001),
  decayAt: z.number().min(0).max(1).default(0.6),
  freezeAt: z.number().min(0).max(1).default(0.98),
  sequenceLoss: z.number().min(0).default(0).describe('alpha of the sequence-wise balance loss; 0: none'),
});
export type TrainBalance = z.infer<typeof TrainBalance>;

/** Where the tokens come from; relative paths start at the configuration file. */
export const TrainData = z.strictObject({
  tokenizer: z.string().min(1).max(4096),
  train: z.string().min(1).max(4096).describe('file of token ids, little-endian uint16 or int32'),
  heldOut: z.string().min(1).max(4096).optional(),
});
export type TrainData = z.infer<typeof TrainData>;

/** A training run. */
export const TrainConfig = z.strictObject({
  schemaVersion: z.literal(1),
  name: z.string().min(1).max(200),
  model: TrainModel,
  recipe: TrainRecipe,
  optimizer: TrainOptimizer.prefault({}),
  schedule: TrainSchedule.prefault({}),
  balance: TrainBalance.prefault({}),
  steps: count(100_000_000),
  batchSequences: count(65_536).describe('sequences a step, over all ranks; a multiple of ranks'),
  contextTokens: count(1 << 16),
  ranks: count(64).default(1),
  seeds: z.strictObject({ weights: z.int().min(0), data: z.int().min(0) }),
  data: TrainData.optional(),
  checkpoint: z
    .strictObject({
      everySteps: count(1_000_000).default(100),
      keep: count(1000).default(2),
      milestones: z
        .array(count(100_000_000))
        .max(100)
        .default([])
        .describe('steps whose checkpoints are kept for good'),
    })
    .prefault({}),
});
export type TrainConfig = z.infer<typeof TrainConfig>;

const load = z.array(z.number());

/** One record of the JSONL log of a run. Wall-clock figures never enter the training state. */
export const TrainEvent = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('start'),
    schemaVersion: z.literal(1),
    name: z.string(),
    firstStep: z.int().describe('steps already done; not 0 on resume'),
    parameters: z.int(),
    activeParameters: z.int(),
    savedBytesPerToken: z.number().describe('activations kept for backward'),
    bf16BytesPerToken: z.number().describe('the same activations in bfloat16'),
  }),
  z.strictObject({
    type: z.literal('step'),
    step: z.int().describe('from 1'),
    tokens: z.int().describe('tokens seen so far'),
    loss: z.number().describe('nats per token, mean over the batch'),
    gradientNorm: z.number().describe('before clipping'),
    learningRate: z.number(),
    gamma: z.number(),
    maxVio: load.describe('per expert layer'),
    tokensPerSecond: z.number(),
    seconds: z.number().describe('of this step'),
  }),
  z.strictObject({ type: z.literal('checkpoint'), step: z.int(), path: z.string() }),
  z.strictObject({
    type: z.literal('end'),
    step: z.int(),
    tokens: z.int(),
    loss: z.number(),
    reason: z.enum(['complete', 'aborted']),
  }),
]);
export type TrainEvent = z.infer<typeof TrainEvent>;

/** `state.json` of a training checkpoint, beside `state.safetensors`. */
export const TrainCheckpoint = z.strictObject({
  schemaVersion: z.literal(1),
  config: TrainConfig,
  step: z.int().min(0).describe('steps done'),
  biases: z
    .array(
      z.strictObject({
        schemaVersion: z.literal(1),
        step: z.int().min(0),
        tokens: z.number().min(0),
        bias: z.array(z.number()).max(4096),
      }),
    )
    .max(256)
    .describe('bias controller of each expert layer'),
  tensors: z.strictObject({ sha256: z.string().regex(/^[0-9a-f]{64}$/), bytes: z.int().min(0) }),
});
export type TrainCheckpoint = z.infer<typeof TrainCheckpoint>;
