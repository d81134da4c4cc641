import type { Load } from '@moestack/placement';
import type { Deployment, Slo } from '../cost/deployment.js';
import { SimulatorError } from '../errors.js';
import type { Accelerator } from '../hardware/accelerator.js';
import type { ModelShape } from '../model/model-shape.js';
import { checkText } from './command-line.js';
import {
  type EngineCommand,
  type EngineName,
  type NodeVariables,
  type PoolLaunch,
  poolsOf,
} from './engine.js';
import { expertLocationFile, expertPlan } from './expert-location.js';
import { gatewayFile, type NamedPool } from './gateway-file.js';
import { mountFolder, podVariables, poolManifests } from './kubernetes.js';
import { launchScript, scriptVariables } from './launch-script.js';
import { sglangCommand } from './sglang.js';
import { vllmCommand } from './vllm.js';

/** Options of {@link emitDeployment}. */
export interface EmitOptions {
  readonly deployment: Deployment;
  readonly accelerator: Accelerator;
  readonly model: ModelShape;
  readonly engine: EngineName;
  /** A Hugging Face repository or a folder; default `deepseek-ai/DeepSeek-V3`. */
  readonly modelPath?: string;
  /** Name in the API; default the model's. */
  readonly servedModelName?: string;
  /** Container image; default the engine's latest. Pin it. */
  readonly image?: string;
  /** Beginning of the names of Kubernetes objects; default from the served name. */
  readonly namePrefix?: string;
  /** Persistent volume claim that holds the weights, mounted at `modelPath`. */
  readonly modelClaim?: string;
  /** Extended resource of the RDMA device plug-in, such as `rdma/ib`. */
  readonly rdmaResource?: string;
  /** InfiniBand devices for KV transfer, such as `mlx5_0,mlx5_1`; default: the engine finds them. */
  readonly ibDevices?: string;
  /** Longest prompt and answer together; default the model's. */
  readonly maxContextTokens?: number;
  /** Recorded tokens of every expert, to plan where experts live. */
  readonly load?: Load;
  /** Latency aims, for the gateway's metrics. */
  readonly slo?: Slo;
}

/** A file to write. */
export interface EmittedFile {
  readonly path: string;
  readonly text: string;
  /** Whether it is a script to run. */
  readonly executable: boolean;
}

const engines: Record<
  EngineName,
  { command: (launch: PoolLaunch, variables: NodeVariables) => EngineCommand; image: string; port: number }
> = {
  sglang: { command: sglangCommand, image: 'lmsysorg/sglang:latest', port: 30_000 },
  vllm: { command: vllmCommand, image: 'vllm/vllm-openai:latest', port: 8000 },
};

/**
 * Everything that starts a deployment: a launch script and LeaderWorkerSet manifests for each pool, expert locations for SGLang
 * (vLLM balances while it runs), and the configuration of a moestack gateway. Each is checked against its schema.
 *
 * @throws SimulatorError `simulator/out-of-memory` if a pool does not fit, `simulator/bad-config` or `simulator/infeasible` if the
 * engine cannot run it.
 */
export function emitDeployment(options: EmitOptions): EmittedFile[] {
  const { deployment, accelerator, model, engine, load, slo, maxContextTokens, modelClaim, rdmaResource } =
    options;
  const known = engines[engine];
  if (known === undefined) throw badOption('engine', engine, 'use sglang or vllm');
  if (maxContextTokens !== undefined && !(Number.isSafeInteger(maxContextTokens) && maxContextTokens > 0))
    throw badOption('maxContextTokens', maxContextTokens, 'pass a whole number of tokens');
  const modelPath = checkText('modelPath', options.modelPath ?? 'deepseek-ai/DeepSeek-V3');
  const servedModelName = checkText('servedModelName', options.servedModelName ?? model.name);
  const ibDevices = options.ibDevices === undefined ? undefined : checkText('ibDevices', options.ibDevices);
  const prefix = options.namePrefix ?? objectName(servedModelName);
  const files: EmittedFile[] = [];
  const manifests: string[] = [];
  const pools: NamedPool[] = [];
  for (const { role, pool, memory, nodes, gpusPerNode } of poolsOf(deployment, accelerator, model)) {
    const name = role === 'mixed' ? prefix : `${prefix}-${role}`;
    const locationFile = `expert-location-${role}.json`;
    const location =
      engine === 'sglang' && pool.ep > 1
        ? new TextDecoder().decode(expertLocationFile(expertPlan(pool, nodes, model, load), model))
        : undefined;
    const launch = (folder: string): PoolLaunch => ({
      role,
      pool,
      deployment,
      model,
      memory,
      nodes,
      gpusPerNode,
      modelPath,
      servedModelName,
      port: known.port,
      maxContextTokens,
      expertLocation: location === undefined ? undefined : `${folder}/${locationFile}`,
      ibDevices,
    });
    const local = launch('.');
    files.push({
      path: `launch-${role}.sh`,
      text: launchScript(local, known.command(local, scriptVariables)),
      executable: true,
    });
    if (location !== undefined) files.push({ path: locationFile, text: location, executable: false });
    const pod = launch(mountFolder);
    manifests.push(
      ...poolManifests(pod, known.command(pod, podVariables), {
        name,
        image: options.image ?? known.image,
        modelClaim,
        rdmaResource,
        files: location === undefined ? {} : { [locationFile]: location },
        servesOnEveryNode: engine === 'vllm',
      }),
    );
    pools.push({ launch: pod, name });
  }
  files.push({ path: 'kubernetes.yaml', text: manifests.join('---\n'), executable: false });
  const gateway = gatewayFile(engine, pools, slo);
  files.push({ path: 'gateway.json', text: `${JSON.stringify(gateway, null, 2)}\n`, executable: false });
  return files;
}

/** A name that Kubernetes accepts, with room for what sets append. */
function objectName(text: string): string {
  const name = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 30)
    .replace(/^[^a-z]+/, '')
    .replace(/-+$/, '');
  return name === '' ? 'engine' : name;
}

function badOption(name: string, value: unknown, remedy: string): SimulatorError {
  return new SimulatorError({
    code: 'simulator/bad-config',
    message: `wrong ${name}: ${String(value)}`,
    value,
    remedy,
  });
}
