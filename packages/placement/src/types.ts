/** Tokens routed to each logical expert, one row per layer; a layer without routed tokens (a dense layer) is a row of zeros. */
export interface Load {
  readonly layers: number;
  readonly experts: number;
  /** [layers, experts], row-major; finite and not negative. */
  readonly counts: Float64Array | Float32Array | Int32Array;
}

/** The machine a plan is made for. GPU g owns the physical slots g*S .. g*S+S-1, S = replicas / gpus; nodes own GPUs in the same way. */
export interface Deployment {
  readonly nodes: number;
  readonly gpus: number;
  /** Physical slots over all GPUs: logical experts plus redundant ones. */
  readonly replicas: number;
  /** Expert groups of group-limited routing; default 1. */
  readonly groups?: number;
}

/** Where every replica of every layer lives. */
export interface Plan {
  /** [layers, replicas]: the logical expert in each physical slot. */
  readonly physicalToLogical: Int32Array;
  /** [layers, replicas]: which replica of its expert a slot holds, 0 .. count-1. */
  readonly replicaRank: Int32Array;
  /** [layers, experts]: number of replicas, at least 1. */
  readonly logicalCount: Int32Array;
  readonly deployment: Deployment;
  readonly layers: number;
}

/**
 * How a plan is made: `eplb` reproduces DeepSeek's EPLB to the slot, `optimal` minimises the highest GPU load,
 * `incremental` improves the previous plan by the moves that pay for themselves.
 */
export type Policy = 'eplb' | 'optimal' | 'incremental';

/** Order of equal sort keys in `eplb`: as PyTorch's CPU sort, which is not stable above 16 items, or stable. */
export type Ties = 'torch' | 'stable';
