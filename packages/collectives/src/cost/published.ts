/** A published latency of DeepEP's low-latency kernels, in microseconds. */
export interface LowLatencyRow {
  readonly ranks: number;
  readonly dispatchUs: number;
  readonly combineUs: number;
}

/** A published bandwidth of DeepEP's normal kernels, in GB/s of logical traffic (the own node counts as RDMA). */
export interface NormalRow {
  readonly ranks: number;
  readonly bottleneck: 'nvlink' | 'rdma';
  readonly dispatchGBps: number;
  readonly combineGBps: number;
}

/**
 * Figures of the README and docs/legacy.md of deepseek-ai/DeepEP at commit dd758ca, on H800 nodes of 8 ranks. Normal: 4096 tokens per rank, top-8 of 256 experts
 * in at most 4 nodes, hidden 7168. Low latency: 128 tokens per rank, top-8 of 256 to 288 experts, hidden 7168. Dispatch in FP8, combine in BF16.
 */
export const deepEpPublished: {
  readonly ranksPerNode: number;
  readonly hidden: number;
  readonly topK: number;
  readonly experts: number;
  readonly normal: {
    readonly tokensPerRank: number;
    readonly nodeLimit: number;
    readonly rows: readonly NormalRow[];
  };
  readonly lowLatency: { readonly tokensPerRank: number; readonly rows: readonly LowLatencyRow[] };
} = {
  ranksPerNode: 8,
  hidden: 7168,
  topK: 8,
  experts: 256,
  normal: {
    tokensPerRank: 4096,
    nodeLimit: 4,
    rows: [
      { ranks: 8, bottleneck: 'nvlink', dispatchGBps: 153, combineGBps: 158 },
      { ranks: 16, bottleneck: 'rdma', dispatchGBps: 43, combineGBps: 43 },
      { ranks: 32, bottleneck: 'rdma', dispatchGBps: 58, combineGBps: 57 },
      { ranks: 64, bottleneck: 'rdma', dispatchGBps: 51, combineGBps: 50 },
    ],
  },
  lowLatency: {
    tokensPerRank: 128,
    rows: [
      { ranks: 8, dispatchUs: 77, combineUs: 114 },
      { ranks: 16, dispatchUs: 118, combineUs: 195 },
      { ranks: 32, dispatchUs: 155, combineUs: 273 },
      { ranks: 64, dispatchUs: 173, combineUs: 314 },
      { ranks: 128, dispatchUs: 192, combineUs: 369 },
      { ranks: 256, dispatchUs: 194, combineUs: 360 },
    ],
  },
};
