import type { Communicator, DispatchMode, PayloadFormat } from '@moestack/collectives';
import { initialPlan, type Plan, type ReplicaPolicy } from '@moestack/placement';
import type { DeepseekConfig } from './config.js';
import { type Dimensions, isMoeLayer } from './dimensions.js';
import { badOption } from './runtime-options.js';

/** Where the experts of a model live, and how tokens reach them. */
export interface ExpertRoutingOptions {
  /**
   * One row for each layer with experts, in order; GPU r of its deployment is rank r. Default: contiguous, slot i holds expert i, which needs a number of
   * experts that the ranks divide.
   */
  readonly placement?: Plan;
  /** What tokens travel as, default `f32`. `bf16` and `fp8` results come back as bfloat16. `fp8` needs a hidden size that 128 divides. */
  readonly payload?: PayloadFormat;
  /** Default `direct`. */
  readonly mode?: DispatchMode;
  /** How tokens choose among the replicas of an expert, default `roundRobin`. */
  readonly replicas?: ReplicaPolicy;
}

/** Parallelism of {@link openRuntime}: this rank's share of the experts, data-parallel or tensor-parallel attention. Every rank passes the same values. */
export interface ParallelOptions extends ExpertRoutingOptions {
  /** The ranks. It stays the caller's: the runtime works on duplicates of it. */
  readonly communicator: Communicator;
  /** Expert-sized buffers that a placement switch receives into, default 0. As many as slots of a rank allow any switch. */
  readonly spareSlots?: number;
  /**
   * Ranks that share the attention heads of a sequence, default 1: ranks `tensor * i` to `tensor * (i + 1) - 1` get the same batches, and each has a part of their
   * rows outside attention. Divides the ranks and the heads. Each of them caches the latents of all tokens.
   */
  readonly tensor?: number;
}

/** {@link ExpertRoutingOptions} checked against a model and a number of ranks. */
export interface ExpertLayout {
  readonly plan: Plan;
  readonly payload: PayloadFormat;
  readonly mode: DispatchMode;
  readonly replicas: ReplicaPolicy;
  readonly ranks: number;
  /** Physical experts of one rank and layer. */
  readonly slotsPerRank: number;
  readonly experts: number;
  /** Row of the plan for each layer of the model, -1 for dense layers. */
  readonly rows: Int32Array;
}

/** Row of a placement for each layer of the model, -1 for dense layers. */
export function expertRows(config: DeepseekConfig): Int32Array {
  const rows = new Int32Array(config.num_hidden_layers);
  let next = 0;
  for (let layer = 0; layer < rows.length; layer++) rows[layer] = isMoeLayer(config, layer) ? next++ : -1;
  return rows;
}

/** Fills in the defaults of `options` for `ranks` ranks on `nodes` nodes. */
export function resolveExpertLayout(
  options: ExpertRoutingOptions,
  config: DeepseekConfig,
  d: Dimensions,
  machine: { readonly ranks: number; readonly nodes: number },
): ExpertLayout {
  const { ranks } = machine;
  const rows = expertRows(config);
  const layers = rows.reduce((count, row) => count + (row < 0 ? 0 : 1), 0);
  if (layers === 0) {
    throw badOption('parallel', ranks, 'a model with routed experts (this one has only dense layers)');
  }
  if (!Number.isInteger(ranks) || ranks < 1) throw badOption('ranks', ranks, 'a positive whole number');
  if (!Number.isInteger(machine.nodes) || machine.nodes < 1) {
    throw badOption('nodes', machine.nodes, 'a positive whole number');
  }
  const { payload = 'f32', mode = 'direct', replicas = 'roundRobin' } = options;
  if (!['f32', 'bf16', 'fp8'].includes(payload)) throw badOption('payload', payload, 'f32, bf16 or fp8');
  if (!['direct', 'hierarchical', 'low-latency'].includes(mode)) {
    throw badOption('mode', mode, 'direct, hierarchical or low-latency');
  }
  if (payload === 'fp8' && d.hidden % 128 !== 0) {
    throw badOption(
      'payload',
      payload,
      `f32 or bf16 for a hidden size of ${d.hidden}, which 128 does not divide`,
    );
  }
  const plan = options.placement ?? contiguousPlan(layers, d.experts, machine);
  checkPlacement(plan, layers, d.experts, ranks);
  return {
    plan,
    payload,
    mode,
    replicas,
    ranks,
    slotsPerRank: plan.deployment.replicas / ranks,
    experts: d.experts,
    rows,
  };
}

/** The logical experts in the slots of one rank. */
export function slotsOf(layout: ExpertLayout, rank: number, layer: number): Int32Array {
  const { plan, slotsPerRank, ranks } = layout;
  const first = (layout.rows[layer]! * ranks + rank) * slotsPerRank;
  return plan.physicalToLogical.subarray(first, first + slotsPerRank);
}

function contiguousPlan(
  layers: number,
  experts: number,
  { ranks, nodes }: { ranks: number; nodes: number },
): Plan {
  if (experts % ranks !== 0) {
    throw badOption(
      'ranks',
      ranks,
      `a divisor of the ${experts} experts, or a placement with redundant experts`,
    );
  }
  return initialPlan(layers, experts, {
    nodes: ranks % nodes === 0 ? nodes : 1,
    gpus: ranks,
    replicas: experts,
  });
}

/** @throws ModelError `model/bad-options` unless `plan` fits the model and the ranks. */
export function checkPlacement(plan: Plan, layers: number, experts: number, ranks: number): void {
  const { physicalToLogical, logicalCount, deployment } = plan;
  if (plan.layers !== layers) {
    throw badOption('placement.layers', plan.layers, `${layers}, one row for each layer with experts`);
  }
  if (logicalCount.length !== layers * experts) {
    throw badOption('placement experts', logicalCount.length / layers, String(experts));
  }
  if (deployment.gpus !== ranks || deployment.replicas % ranks !== 0) {
    throw badOption(
      'placement.deployment',
      JSON.stringify(deployment),
      `${ranks} GPUs with the same number of slots`,
    );
  }
  if (physicalToLogical.length !== layers * deployment.replicas) {
    throw badOption('placement slots', physicalToLogical.length, String(layers * deployment.replicas));
  }
  const seen = new Uint8Array(experts);
  for (let layer = 0; layer < layers; layer++) {
    seen.fill(0);
    for (let slot = 0; slot < deployment.replicas; slot++) {
      const expert = physicalToLogical[layer * deployment.replicas + slot]!;
      if (expert < 0 || expert >= experts) {
        throw badOption(`placement slot ${slot} of row ${layer}`, expert, `an expert below ${experts}`);
      }
      seen[expert] = 1;
    }
    const missing = seen.indexOf(0);
    if (missing >= 0)
      throw badOption(`placement row ${layer}`, `no slot for expert ${missing}`, 'every expert');
  }
}
