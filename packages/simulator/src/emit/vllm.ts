import { SimulatorError } from '../errors.js';
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
import { VllmArguments } from './vllm-arguments.js';

const rpcPort = 13_345;
/** Smallest batches that vLLM splits by default. */
const overlapThresholds = { prefill: 512, decode: 32 };

/** The command that starts one node of a pool under vLLM; every node serves requests for its own data-parallel ranks. */
export function vllmCommand(launch: PoolLaunch, variables: NodeVariables): EngineCommand {
  const flags = checkSchema(VllmArguments, vllmFlags(launch, variables), 'flags of vLLM');
  return {
    program: ['vllm', 'serve', launch.modelPath],
    environment: {
      VLLM_USE_DEEP_GEMM: '1',
      ...(launch.pool.ep > 1 && launch.role !== 'prefill'
        ? { VLLM_MOE_DP_CHUNK_SIZE: String(powerOfTwoAbove(decodeTokens(launch))) }
        : {}),
      // Address and port at which the other pool fetches KV blocks.
      ...(launch.role === 'mixed' ? {} : { VLLM_NIXL_SIDE_CHANNEL_PORT: '5600' }),
    },
    flags: flags as Flags,
  };
}

function vllmFlags(launch: PoolLaunch, variables: NodeVariables): VllmArguments {
  const { role, pool, deployment, memory, nodes, gpusPerNode, maxContextTokens } = launch;
  const { precision, mtp, blockSizeTokens } = deployment;
  const expertParallel = pool.ep > 1;
  if (expertParallel && pool.ep !== pool.tp * pool.dp) {
    throw new SimulatorError({
      code: 'simulator/bad-config',
      message: `expected ep = tp x dp = ${pool.tp * pool.dp} for vLLM, got ${pool.ep}`,
      value: pool.ep,
      remedy: 'vLLM spreads experts over all GPUs of an engine: set ep to tp x dp, or to 1',
    });
  }
  const local = gpusPerNode / pool.tp;
  if (!Number.isInteger(local)) {
    throw new SimulatorError({
      code: 'simulator/bad-config',
      message: `expected tp to divide the ${gpusPerNode} GPUs of a node for vLLM, got ${pool.tp}`,
      value: pool.tp,
      remedy: 'choose a tp that divides the GPUs of a node',
    });
  }
  const batched =
    role === 'decode'
      ? pool.maxSequencesPerRank * (1 + (mtp.enabled ? mtp.draftTokens : 0))
      : pool.maxTokensPerRank;
  return {
    'served-model-name': launch.servedModelName,
    'trust-remote-code': true,
    host: '0.0.0.0',
    port: launch.port,
    'tensor-parallel-size': pool.tp,
    ...(pool.dp > 1 ? { 'data-parallel-size': pool.dp, 'data-parallel-size-local': local } : {}),
    ...(pool.dp > 1 && nodes > 1
      ? {
          'data-parallel-start-rank': `$((${variables.index} * ${local}))`,
          'data-parallel-address': `$${variables.head}`,
          'data-parallel-rpc-port': rpcPort,
          'data-parallel-hybrid-lb': true,
        }
      : {}),
    ...(expertParallel
      ? {
          'enable-expert-parallel': true,
          'all2all-backend': role === 'decode' ? 'deepep_low_latency' : 'deepep_high_throughput',
        }
      : {}),
    ...(expertParallel && pool.redundantExperts > 0
      ? {
          'enable-eplb': true,
          'eplb-config': {
            window_size: 1000,
            step_interval: 3000,
            num_redundant_experts: pool.redundantExperts,
          },
        }
      : {}),
    ...(expertParallel && pool.overlap.enabled && pool.dp > 1
      ? {
          'enable-dbo': true,
          ...(role === 'decode' ? {} : { 'dbo-prefill-token-threshold': overlapThresholds.prefill }),
          ...(role === 'prefill' ? {} : { 'dbo-decode-token-threshold': overlapThresholds.decode }),
        }
      : {}),
    'max-num-batched-tokens': Math.max(batched, pool.maxSequencesPerRank),
    'max-num-seqs': pool.maxSequencesPerRank,
    ...(maxContextTokens === undefined ? {} : { 'max-model-len': maxContextTokens }),
    'gpu-memory-utilization': memoryShare(memory.capacityBytes - memory.reservedBytes, memory),
    'block-size': blockSizeTokens,
    ...(precision.attention === 'fp8' ? { 'kv-cache-dtype': 'fp8' } : {}),
    ...(role === 'mixed'
      ? {}
      : { 'kv-transfer-config': { kv_connector: 'NixlConnector', kv_role: 'kv_both' } }),
    ...(mtp.enabled
      ? { 'speculative-config': { method: 'deepseek_mtp', num_speculative_tokens: mtp.draftTokens } }
      : {}),
  };
}
