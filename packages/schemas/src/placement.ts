import { z } from 'zod';
import { Float64Base64, Int32Base64 } from './typed-arrays.js';

/** Upper bounds on what a placement file may ask a reader to allocate. */
const layers = z.int().min(1).max(4096);
const experts = z.int().min(1).max(65_536);

/** Refinements also see what a codec has refused, which is no array then. */
function isArrayOf(value: unknown, length?: number): boolean {
  return ArrayBuffer.isView(value) && (length === undefined || (value as Int32Array).length === length);
}

/** The machine that a {@link Placement} is made for; every node has the same number of GPUs, every GPU of slots. */
export const PlacementDeployment = z
  .strictObject({
    nodes: z.int().min(1).max(65_536),
    gpus: z.int().min(1).max(65_536),
    replicas: z.int().min(1).max(1_048_576).describe('physical expert slots over all GPUs'),
    groups: z.int().min(1).max(65_536).optional().describe('expert groups of group-limited routing'),
  })
  .refine(({ nodes, gpus }) => gpus % nodes === 0, 'expected gpus to be a multiple of nodes')
  .refine(({ gpus, replicas }) => replicas % gpus === 0, 'expected replicas to be a multiple of gpus');
export type PlacementDeployment = z.infer<typeof PlacementDeployment>;

/** Tokens routed to each logical expert of each layer; dense layers are zeros. */
export const ExpertLoad = z
  .strictObject({
    schemaVersion: z.literal(1),
    layers,
    experts,
    counts: Float64Base64.describe('[layers, experts]'),
    windowSeconds: z.number().positive().optional().describe('time over which they were counted'),
  })
  .refine(
    ({ layers, experts, counts }) => isArrayOf(counts, layers * experts),
    'expected layers x experts counts',
  )
  .refine(
    ({ counts }) => !isArrayOf(counts) || counts.every((count) => count >= 0 && count < 1e300),
    'expected finite counts of at least 0',
  );
export type ExpertLoad = z.infer<typeof ExpertLoad>;

/** A plan file: which logical expert each physical slot of each layer holds. */
export const Placement = z
  .strictObject({
    schemaVersion: z.literal(1),
    layers,
    experts,
    deployment: PlacementDeployment,
    physicalToLogical: Int32Base64.describe('[layers, replicas], logical expert of each slot'),
    replicaRank: Int32Base64.describe('[layers, replicas], which replica of its expert a slot holds'),
  })
  .refine(
    ({ layers, deployment, physicalToLogical, replicaRank }) =>
      isArrayOf(physicalToLogical, layers * deployment.replicas) &&
      isArrayOf(replicaRank, layers * deployment.replicas),
    'expected layers x replicas slots and ranks',
  );
export type Placement = z.infer<typeof Placement>;

/** Expert weights to copy into slots, layer by layer, before a layer may switch to its new slots. */
export const MigrationPlan = z
  .strictObject({
    schemaVersion: z.literal(1),
    before: Placement,
    after: Placement,
    transfers: z
      .array(
        z.strictObject({
          layer: z.int().min(0),
          expert: z.int().min(0),
          slot: z.int().min(0),
          sourceSlot: z.int().min(0).describe('slot that holds the expert before the layer switches'),
          kind: z.enum(['sameGpu', 'sameNode', 'remote']),
        }),
      )
      .max(4_194_304),
  })
  .refine(
    ({ before, after }) => before.layers === after.layers && before.experts === after.experts,
    'expected plans of the same layers and experts',
  );
export type MigrationPlan = z.infer<typeof MigrationPlan>;
