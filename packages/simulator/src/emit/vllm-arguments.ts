import { z } from 'zod';

const size = z
  .int()
  .min(1)
  .max(1 << 24);
const port = z.int().min(1).max(65_535);

/** `--eplb-config`. */
const EplbConfig = z.strictObject({
  window_size: size,
  step_interval: size,
  num_redundant_experts: z.int().min(0).max(65_536),
  log_balancedness: z.boolean().optional(),
});

/** `--kv-transfer-config`. */
const KvTransferConfig = z.strictObject({
  kv_connector: z.enum(['NixlConnector', 'MooncakeConnector']),
  kv_role: z.enum(['kv_both', 'kv_producer', 'kv_consumer']),
});

/** `--speculative-config`. */
const SpeculativeConfig = z.strictObject({
  method: z.enum(['deepseek_mtp', 'mtp']),
  num_speculative_tokens: z.int().min(1).max(16),
});

/**
 * Flags of `vllm serve` that a deployment sets, and the rules between them (vLLM documentation: expert parallel deployment, data
 * parallel deployment, engine arguments).
 */
export const VllmArguments = z
  .strictObject({
    'served-model-name': z.string().min(1).optional(),
    'trust-remote-code': z.literal(true).optional(),
    host: z.string().min(1),
    port,
    'tensor-parallel-size': size,
    'data-parallel-size': size.optional(),
    'data-parallel-size-local': size.optional(),
    'data-parallel-start-rank': z
      .union([z.int().min(0), z.string().regex(/^\$\(\(\w+ \* \d+\)\)$/)])
      .optional(),
    'data-parallel-address': z.string().min(1).optional(),
    'data-parallel-rpc-port': port.optional(),
    'data-parallel-hybrid-lb': z.literal(true).optional(),
    'enable-expert-parallel': z.literal(true).optional(),
    'all2all-backend': z
      .enum(['allgather_reducescatter', 'deepep_high_throughput', 'deepep_low_latency'])
      .optional(),
    'enable-eplb': z.literal(true).optional(),
    'eplb-config': EplbConfig.optional(),
    'enable-dbo': z.literal(true).optional(),
    'dbo-prefill-token-threshold': size.optional(),
    'dbo-decode-token-threshold': size.optional(),
    'max-num-batched-tokens': size,
    'max-num-seqs': size,
    'max-model-len': size.optional(),
    'gpu-memory-utilization': z.number().gt(0).max(1),
    'block-size': size.optional(),
    'kv-cache-dtype': z.enum(['auto', 'fp8', 'bfloat16']).optional(),
    'kv-transfer-config': KvTransferConfig.optional(),
    'speculative-config': SpeculativeConfig.optional(),
  })
  .superRefine((flags, context) => {
    const expect = (holds: boolean, path: keyof typeof flags, message: string) => {
      if (!holds) context.addIssue({ code: 'custom', path: [path], message });
    };
    const ranks = flags['data-parallel-size'] ?? 1;
    const local = flags['data-parallel-size-local'] ?? ranks;
    const expertParallel = flags['enable-expert-parallel'] === true;
    expect(ranks % local === 0, 'data-parallel-size-local', 'expected to divide data-parallel-size');
    const spans = local < ranks;
    expect(
      !spans || flags['data-parallel-address'] !== undefined,
      'data-parallel-address',
      'expected on several nodes',
    );
    expect(
      !spans || flags['data-parallel-start-rank'] !== undefined,
      'data-parallel-start-rank',
      'expected on several nodes',
    );
    expect(
      expertParallel || flags['all2all-backend'] === undefined,
      'all2all-backend',
      'expected enable-expert-parallel',
    );
    expect(
      expertParallel || flags['enable-eplb'] === undefined,
      'enable-eplb',
      'expected enable-expert-parallel',
    );
    expect(
      (flags['enable-eplb'] === true) === (flags['eplb-config'] !== undefined),
      'eplb-config',
      'expected with enable-eplb',
    );
    expect(
      flags['enable-dbo'] === undefined ||
        (ranks > 1 && (flags['all2all-backend']?.startsWith('deepep') ?? false)),
      'enable-dbo',
      'expected data parallelism and a DeepEP backend',
    );
    expect(
      flags['max-num-batched-tokens'] >= flags['max-num-seqs'],
      'max-num-batched-tokens',
      'expected at least max-num-seqs',
    );
  });
export type VllmArguments = z.infer<typeof VllmArguments>;
