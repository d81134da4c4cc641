/** Cost of one link class: a phase of b bytes takes alphaSeconds + b / bytesPerSecond. */
export interface LinkRate {
  readonly alphaSeconds: number;
  readonly bytesPerSecond: number;
}

/** The links of a cluster, as one rank sees them. */
export interface ClusterLinks {
  /** Between ranks of one node. */
  readonly intra: LinkRate;
  /** Between nodes, for one network card. */
  readonly inter: LinkRate;
  /** Ranks that share one network card: 1 is a rail for each rank. Default 1. */
  readonly ranksPerNic?: number;
  /** Ranks that share one intra-node link, for example all threads of a socket. Default 1. */
  readonly ranksPerIntraLink?: number;
  /** Whether local deliveries load the intra-node link, as staging through NVLink buffers does. Default true. */
  readonly selfOnIntra?: boolean;
  /** Output bytes of local reductions per second; default: they are free. */
  readonly reduceBytesPerSecond?: number;
}

/**
 * H800 nodes with NVLink and one 400 Gb/s ConnectX-7 card for each GPU, fitted to DeepEP's published bandwidths of its normal kernels
 * (two free rates on eight figures: a consistency check, not a validation).
 */
export const h800Normal: ClusterLinks = {
  intra: { alphaSeconds: 0, bytesPerSecond: 149e9 },
  inter: { alphaSeconds: 0, bytesPerSecond: 42.4e9 },
};

/**
 * The same hardware under DeepEP's low-latency kernels: a start-up time and two rates, fitted to twelve published latencies; here transfers inside
 * and between nodes add up, since one kernel issues both.
 */
export const h800LowLatency: ClusterLinks = {
  intra: { alphaSeconds: 39e-6, bytesPerSecond: 240e9 },
  inter: { alphaSeconds: 0, bytesPerSecond: 49e9 },
};
