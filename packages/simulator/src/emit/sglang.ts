import { gpusPerUnit } from '../cost/deployment.js';
import { checkSchema } from './check-schema.js';
import type { Flags } from './command-line.js';
import {
  decodeTokens,
  type EngineCommand,
  memoryShare,
  type NodeVariables,
  type PoolLaunch,
  powerOfTwoAbove,
} from './engine.js';
import { SglangArguments } from './sglang-arguments.js';

const distPort = 20_000;

/** The command that starts one node of a pool under SGLang. */
export function sglangCommand(launch: PoolLaunch, variables: NodeVariables): EngineCommand {
  const flags = checkSchema(SglangArguments, sglangFlags(launch, variables), 'flags of SGLang');
  const wide = launch.pool.ep > 1;
  return {
    program: ['python3', '-m', 'sglang.launch_server'],
    environment: {
      // A rank sends at most so many tokens in one low-latency dispatch; buffers are sized by it.
      ...(wide && launch.role !== 'prefill'
        ? { SGLANG_DEEPEP_NUM_MAX_DISPATCH_TOKENS_PER_RANK: String(powerOfTwoAbove(decodeTokens(launch))) }
        : {}),
    },
    flags: flags as Flags,
  };
}

function sglangFlags(launch: PoolLaunch, variables: NodeVariables): SglangArguments {
  const { role, pool, deployment, memory, nodes, maxContextTokens, expertLocation, ibDevices } = launch;
  const { precision, mtp, blockSizeTokens } = deployment;
  const wide = pool.ep > 1;
  const { communicationSms } = pool.overlap;
  // DeepEP pairs SMs: one of two sends.
  const sms = communicationSms - (communicationSms % 2);
  return {
    'model-path': launch.modelPath,
    'served-model-name': launch.servedModelName,
    'trust-remote-code': true,
    host: '0.0.0.0',
    port: launch.port,
    nnodes: nodes,
    'node-rank': nodes === 1 ? 0 : `$${variables.index}`,
    'dist-init-addr': nodes === 1 ? `127.0.0.1:${distPort}` : `$${variables.head}:${distPort}`,
    'tp-size': gpusPerUnit(pool),
    ...(pool.dp > 1 ? { 'dp-size': pool.dp, 'enable-dp-attention': true, 'enable-dp-lm-head': true } : {}),
    ...(wide ? { 'ep-size': pool.ep, 'moe-a2a-backend': 'deepep', 'moe-dense-tp-size': 1 } : {}),
    ...(wide
      ? { 'deepep-mode': role === 'prefill' ? 'normal' : role === 'decode' ? 'low_latency' : 'auto' }
      : {}),
    ...(wide && sms > 0 && role !== 'decode'
      ? { 'deepep-config': { normal_dispatch: { num_sms: sms }, normal_combine: { num_sms: sms } } }
      : {}),
    ...(precision.weights === 'fp4'
      ? { quantization: 'modelopt_fp4', 'moe-runner-backend': 'flashinfer_cutedsl' }
      : {}),
    ...(precision.attention === 'fp8' ? { 'kv-cache-dtype': 'fp8_e4m3' } : {}),
    ...(wide && pool.redundantExperts > 0
      ? { 'ep-num-redundant-experts': pool.redundantExperts, 'ep-dispatch-algorithm': 'dynamic' }
      : {}),
    ...(wide && expertLocation !== undefined ? { 'init-expert-location': expertLocation } : {}),
    ...(wide && pool.overlap.enabled ? { 'enable-two-batch-overlap': true } : {}),
    // Both limits are divided by the number of data-parallel ranks.
    ...(role === 'decode'
      ? {}
      : {
          'chunked-prefill-size': pool.maxTokensPerRank * pool.dp,
          'max-prefill-tokens': pool.maxTokensPerRank,
        }),
    'max-running-requests': pool.maxSequencesPerRank * pool.dp,
    ...(role === 'prefill' ? {} : { 'cuda-graph-max-bs': pool.maxSequencesPerRank }),
    'mem-fraction-static': memoryShare(memory.weights.total.bytes + memory.kvBytes, memory),
    'page-size': blockSizeTokens,
    ...(maxContextTokens === undefined ? {} : { 'context-length': maxContextTokens }),
    ...(role === 'mixed'
      ? {}
      : {
          'disaggregation-mode': role,
          'disaggregation-transfer-backend': 'mooncake',
          ...(role === 'prefill' ? { 'disaggregation-bootstrap-port': 8998 } : {}),
          ...(ibDevices === undefined ? {} : { 'disaggregation-ib-device': ibDevices }),
        }),
    ...(mtp.enabled
      ? {
          'speculative-algorithm': 'EAGLE',
          'speculative-num-steps': mtp.draftTokens,
          'speculative-eagle-topk': 1,
          'speculative-num-draft-tokens': mtp.draftTokens + 1,
        }
      : {}),
  };
}
