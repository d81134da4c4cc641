import { z } from 'zod';

const size = z
  .int()
  .min(1)
  .max(1 << 24);
const port = z.int().min(1).max(65_535);
/** Set by the script or by Kubernetes when it runs. */
const fromEnvironment = z.string().regex(/^\$(\w+|\(\w+\))$/);

/** DeepEP's kernels as `--deepep-config` tunes them. */
const DeepEpConfig = z.strictObject({
  normal_dispatch: z.strictObject({ num_sms: z.int().min(2).multipleOf(2) }),
  normal_combine: z.strictObject({ num_sms: z.int().min(2).multipleOf(2) }),
});

/**
 * Flags of `python3 -m sglang.launch_server` that a deployment sets, and the rules between them (SGLang documentation: server
 * arguments, expert parallelism, PD disaggregation).
 */
export const SglangArguments = z
  .strictObject({
    'model-path': z.string().min(1),
    'served-model-name': z.string().min(1).optional(),
    'trust-remote-code': z.literal(true).optional(),
    host: z.string().min(1),
    port,
    nnodes: z.union([z.int().min(1).max(4096), fromEnvironment]),
    'node-rank': z.union([z.int().min(0).max(4095), fromEnvironment]),
    'dist-init-addr': z.string().regex(/^[^:\s]+:\d+$/),
    'tp-size': size.describe('all GPUs of the engine'),
    'dp-size': size.optional(),
    'ep-size': size.optional(),
    'enable-dp-attention': z.literal(true).optional(),
    'enable-dp-lm-head': z.literal(true).optional(),
    'moe-dense-tp-size': z.literal(1).optional(),
    'moe-a2a-backend': z.enum(['none', 'deepep', 'mooncake', 'mori', 'nixl']).optional(),
    'deepep-mode': z.enum(['normal', 'low_latency', 'auto']).optional(),
    'deepep-config': DeepEpConfig.optional(),
    'moe-runner-backend': z.enum(['auto', 'deep_gemm', 'flashinfer_cutedsl', 'flashinfer_trtllm']).optional(),
    quantization: z.enum(['fp8', 'modelopt_fp4']).optional(),
    'kv-cache-dtype': z.enum(['auto', 'fp8_e4m3', 'fp8_e5m2', 'bf16']).optional(),
    'ep-num-redundant-experts': z.int().min(0).max(65_536).optional(),
    'ep-dispatch-algorithm': z.enum(['static', 'dynamic', 'fake']).optional(),
    'init-expert-location': z.string().min(1).optional(),
    'enable-two-batch-overlap': z.literal(true).optional(),
    'chunked-prefill-size': z
      .int()
      .min(1)
      .max(1 << 30)
      .optional()
      .describe('over all data-parallel ranks'),
    'max-prefill-tokens': size.optional(),
    'max-running-requests': size.optional().describe('over all data-parallel ranks'),
    'mem-fraction-static': z.number().gt(0).lt(1),
    'page-size': size.optional(),
    'context-length': size.optional(),
    'cuda-graph-max-bs': size.optional(),
    'disaggregation-mode': z.enum(['prefill', 'decode']).optional(),
    'disaggregation-transfer-backend': z.enum(['mooncake', 'nixl']).optional(),
    'disaggregation-bootstrap-port': port.optional(),
    'disaggregation-ib-device': z.string().min(1).optional(),
    'speculative-algorithm': z.enum(['EAGLE', 'NEXTN']).optional(),
    'speculative-num-steps': z.int().min(1).max(16).optional(),
    'speculative-eagle-topk': z.int().min(1).max(16).optional(),
    'speculative-num-draft-tokens': z.int().min(1).max(256).optional(),
  })
  .superRefine((flags, context) => {
    const gpus = flags['tp-size'];
    const ranks = flags['dp-size'] ?? 1;
    const expect = (holds: boolean, path: keyof typeof flags, message: string) => {
      if (!holds) context.addIssue({ code: 'custom', path: [path], message });
    };
    expect(gpus % ranks === 0, 'dp-size', 'expected dp-size to divide tp-size');
    expect(
      ranks === 1 || flags['enable-dp-attention'] === true,
      'enable-dp-attention',
      'expected with dp-size above 1',
    );
    expect(gpus % (flags['ep-size'] ?? 1) === 0, 'ep-size', 'expected ep-size to divide tp-size');
    const exchange = flags['moe-a2a-backend'] ?? 'none';
    expect(
      exchange === 'none' || flags['ep-size'] === gpus,
      'ep-size',
      'expected tp-size: dispatch spans all GPUs',
    );
    expect(
      exchange === 'deepep' || flags['deepep-mode'] === undefined,
      'deepep-mode',
      'expected moe-a2a-backend deepep',
    );
    expect(
      exchange !== 'none' || flags['enable-two-batch-overlap'] === undefined,
      'enable-two-batch-overlap',
      'expected a moe-a2a-backend',
    );
    expect(
      (flags['ep-num-redundant-experts'] ?? 0) === 0 || (flags['ep-size'] ?? 1) > 1,
      'ep-num-redundant-experts',
      'expected ep-size above 1',
    );
    const speculative = flags['speculative-algorithm'] !== undefined;
    for (const name of [
      'speculative-num-steps',
      'speculative-eagle-topk',
      'speculative-num-draft-tokens',
    ] as const)
      expect(
        speculative === (flags[name] !== undefined),
        name,
        'expected together with speculative-algorithm',
      );
  });
export type SglangArguments = z.infer<typeof SglangArguments>;
