import { z } from 'zod';

const id = z.int().min(0).max(1_048_575);
const rows = z.array(z.array(id).max(1_048_576)).min(1).max(4096);

/**
 * What `--init-expert-location` of SGLang takes: a map of slots, or counts from which SGLang makes one. Other fields, as in
 * dumps of its recorder, pass.
 */
export const SglangExpertLocation = z
  .looseObject({
    physical_to_logical_map: rows.optional().describe('[layers, replicas], all layers of the model'),
    logical_count: z
      .array(z.unknown())
      .min(1)
      .optional()
      .describe('[layers, experts] or [steps, layers, experts]'),
  })
  .refine(
    ({ physical_to_logical_map, logical_count }) =>
      physical_to_logical_map !== undefined || logical_count !== undefined,
    'expected physical_to_logical_map or logical_count',
  );
export type SglangExpertLocation = z.infer<typeof SglangExpertLocation>;

/** The maps that vLLM keeps of its experts. */
export const VllmExpertState = z.looseObject({
  physical_to_logical_map: rows.describe('[layers, replicas]'),
  logical_to_physical_map: z
    .array(z.array(z.array(z.int().min(-1))))
    .optional()
    .describe('[layers, experts, replicas - experts + 1], -1 behind the last slot'),
  logical_replica_count: rows.optional().describe('[layers, experts]'),
});
export type VllmExpertState = z.infer<typeof VllmExpertState>;

/** The expert map of vLLM-Ascend. */
export const VllmAscendExpertMap = z.looseObject({
  moe_layer_count: z.int().min(1).max(4096),
  layer_list: z
    .array(
      z.looseObject({
        layer_id: id,
        device_count: z.int().min(1).max(65_536),
        device_list: z.array(z.looseObject({ device_id: id, device_expert: z.array(id) })),
      }),
    )
    .min(1)
    .max(4096),
});
export type VllmAscendExpertMap = z.infer<typeof VllmAscendExpertMap>;

/** The `moe_load_balancer` configuration of TensorRT-LLM. */
export const TensorRtLlmLoadBalancer = z.looseObject({
  num_slots: z.int().min(1).max(1_048_576),
  initial_global_assignments: z
    .record(z.string().regex(/^\d{1,5}$/), z.array(id))
    .nullish()
    .describe('expert of each slot, by the index of the layer in the model'),
  layer_updates_per_iter: z.int().min(0).optional().describe('0: the assignment stays'),
});
export type TensorRtLlmLoadBalancer = z.infer<typeof TensorRtLlmLoadBalancer>;

/** `meta_info.json` beside the expert statistics of TensorRT-LLM. */
export const TensorRtLlmStatisticsInfo = z.looseObject({
  num_experts: z.int().min(1).max(65_536),
  num_experts_per_token: z.int().min(1).max(65_536).optional(),
});
export type TensorRtLlmStatisticsInfo = z.infer<typeof TensorRtLlmStatisticsInfo>;
