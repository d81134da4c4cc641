import { type Deployment, gpusPerUnit, type Pool } from '../cost/deployment.js';
import { SimulatorError } from '../errors.js';
import type { Accelerator } from '../hardware/accelerator.js';
import { type MemoryPlan, memoryPlan } from '../memory/memory-plan.js';
import type { ModelShape } from '../model/model-shape.js';
import type { Flags } from './command-line.js';

/** What a pool is for. */
export type PoolRole = 'prefill' | 'decode' | 'mixed';

/** Engines that launch files are written for. */
export type EngineName = 'sglang' | 'vllm';

/** One pool to be launched, with all that its flags depend on. */
export interface PoolLaunch {
  readonly role: PoolRole;
  readonly pool: Pool;
  readonly deployment: Deployment;
  readonly model: ModelShape;
  readonly memory: MemoryPlan;
  /** Machines of a unit, and GPUs in use on each. */
  readonly nodes: number;
  readonly gpusPerNode: number;
  /** A local folder or a Hugging Face repository. */
  readonly modelPath: string;
  readonly servedModelName: string;
  readonly port: number;
  readonly maxContextTokens: number | undefined;
  /** Where the file of expert locations is, for engines that read one. */
  readonly expertLocation: string | undefined;
  readonly ibDevices: string | undefined;
}

/** Names under which a script finds the index of its node and the address of the first one. */
export interface NodeVariables {
  readonly index: string;
  readonly head: string;
}

/** How to start one node of a pool. */
export interface EngineCommand {
  readonly program: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** Flags, already checked against the schema of the engine. */
  readonly flags: Flags;
}

/** The pools of a deployment with the memory of their GPUs. */
export function poolsOf(
  deployment: Deployment,
  accelerator: Accelerator,
  model: ModelShape,
): { role: PoolRole; pool: Pool; memory: MemoryPlan; nodes: number; gpusPerNode: number }[] {
  const pools: [PoolRole, Pool][] =
    deployment.prefill === null
      ? [['mixed', deployment.decode]]
      : [
          ['prefill', deployment.prefill],
          ['decode', deployment.decode],
        ];
  return pools.map(([role, pool]) => {
    const { precision, mtp, blockSizeTokens } = deployment;
    const memory = memoryPlan({
      accelerator,
      model,
      phase: role === 'mixed' ? 'both' : role,
      pool,
      precision,
      mtp,
      blockSizeTokens,
    });
    if (!memory.fits) throw doesNotFit(role, memory);
    return { role, pool, memory, ...nodesOf(pool) };
  });
}

function doesNotFit(role: PoolRole, { shortageBytes }: MemoryPlan): SimulatorError {
  return new SimulatorError({
    code: 'simulator/out-of-memory',
    message: `the ${role} pool lacks ${(shortageBytes / 2 ** 30).toFixed(1)} GiB on every GPU`,
    value: shortageBytes,
    remedy: 'spread the experts over more GPUs, or lower maxTokensPerRank and maxSequencesPerRank',
  });
}

function nodesOf(pool: Pool): { nodes: number; gpusPerNode: number } {
  const gpus = gpusPerUnit(pool);
  if (gpus <= pool.gpusPerNode) return { nodes: 1, gpusPerNode: gpus };
  if (gpus % pool.gpusPerNode === 0) return { nodes: gpus / pool.gpusPerNode, gpusPerNode: pool.gpusPerNode };
  throw new SimulatorError({
    code: 'simulator/bad-config',
    message: `expected tp x dp = ${gpus} to fill whole nodes of ${pool.gpusPerNode} GPUs`,
    value: gpus,
    remedy: `use a multiple of ${pool.gpusPerNode} GPUs for a unit`,
  });
}

/** Largest power of two that holds `tokens`: kernels of dispatch are compiled for such sizes. */
export function powerOfTwoAbove(tokens: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, tokens)));
}

/** Tokens of a rank in one micro-batch of a decode step. */
export function decodeTokens({ pool, deployment }: Pick<PoolLaunch, 'pool' | 'deployment'>): number {
  const { enabled, draftTokens } = deployment.mtp;
  const tokens = pool.maxSequencesPerRank * (enabled ? 1 + draftTokens : 1);
  return Math.ceil(tokens / (pool.overlap.enabled ? 2 : 1));
}

/** A share of the memory, cut after three digits so that it never asks for more. */
export function memoryShare(bytes: number, { capacityBytes }: MemoryPlan): number {
  return Math.floor((1000 * bytes) / capacityBytes) / 1000;
}
